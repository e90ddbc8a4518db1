"""What is shipped beside the program: it must be accepted by those who read it."""
import os
import re
import subprocess

import pytest
import yaml

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
DEPLOY = os.path.join(ROOT, "deploy")
EXPOSURE_MAX = 2.0


def read(name):
    with open(os.path.join(DEPLOY, name), encoding="utf-8") as file:
        return file.read()


@pytest.fixture
def unit(work):
    path = os.path.join(work, "blackstart.service")
    with open(path, "w", encoding="utf-8") as file:
        file.write(read("systemd/blackstart.service.in").replace("@bindir@/blackstart",
                                                                 "/bin/true"))
    return path


def test_the_unit_is_hardened(unit):
    said = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
                          capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said.stdout)
    assert found, said
    assert float(found.group(1)) < EXPOSURE_MAX, said.stdout


def test_the_unit_is_understood(unit):
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True,
                          text=True, check=False)
    assert said.returncode == 0 and "blackstart.service" not in said.stderr, said


def test_the_user_and_the_folders_are_understood(work):
    for program, name in (("systemd-sysusers", "sysusers"), ("systemd-tmpfiles", "tmpfiles")):
        args = [program, f"--root={work}"]
        if name == "tmpfiles":
            args.append("--create")
        else:
            os.makedirs(os.path.join(work, "etc"))
        said = subprocess.run([*args, os.path.join(DEPLOY, "systemd", f"blackstart.{name}")],
                              capture_output=True, text=True, check=False)
        assert said.returncode == 0, said
    with open(os.path.join(work, "etc", "passwd"), encoding="utf-8") as file:
        assert "blackstart:" in file.read()
    assert os.path.isdir(os.path.join(work, "etc", "blackstart", "secrets"))


# ---- Kubernetes: the fields that we use, with what the API wants of them ------------------------

TEXT, NUMBER, FLAG = str, int, bool
SECURITY = {"runAsNonRoot": FLAG, "runAsUser": NUMBER, "runAsGroup": NUMBER, "fsGroup": NUMBER,
            "seccompProfile": {"type": TEXT}}
PROBE = {"httpGet": {"path": TEXT, "port": (TEXT, NUMBER)}, "periodSeconds": NUMBER,
         "failureThreshold": NUMBER}
CONTAINER = {
    "name!": TEXT, "image!": TEXT, "args": [TEXT],
    "ports": [{"name": TEXT, "containerPort!": NUMBER}],
    "readinessProbe": PROBE, "livenessProbe": PROBE,
    "securityContext": {"allowPrivilegeEscalation": FLAG, "readOnlyRootFilesystem": FLAG,
                        "capabilities": {"drop": [TEXT]}},
    "resources": {"requests": {"cpu": TEXT, "memory": TEXT}},
    "env": [{"name!": TEXT, "value": TEXT}],
    "volumeMounts": [{"name!": TEXT, "mountPath!": TEXT, "readOnly": FLAG}]}
POD = {
    "containers!": [CONTAINER], "securityContext": SECURITY, "restartPolicy": TEXT,
    "terminationGracePeriodSeconds": NUMBER, "automountServiceAccountToken": FLAG,
    "volumes": [{"name!": TEXT, "configMap": {"name!": TEXT},
                 "secret": {"secretName!": TEXT, "defaultMode": NUMBER},
                 "persistentVolumeClaim": {"claimName!": TEXT}, "emptyDir": {}}]}
META = {"name!": TEXT, "namespace": TEXT, "labels": {"app": TEXT}}
LABELS = {"app": TEXT}
KINDS = {
    ("v1", "ConfigMap"): {"data!": {"blackstart.yaml": TEXT}},
    ("v1", "PersistentVolumeClaim"): {"spec!": {"accessModes!": [TEXT], "resources!": {
        "requests!": {"storage!": TEXT}}}},
    ("v1", "Service"): {"spec!": {"selector!": LABELS, "ports!": [
        {"name": TEXT, "port!": NUMBER, "targetPort": (TEXT, NUMBER)}]}},
    ("apps/v1", "Deployment"): {"spec!": {
        "replicas": NUMBER, "strategy": {"type": TEXT}, "selector!": {"matchLabels!": LABELS},
        "template!": {"metadata!": {"labels!": LABELS}, "spec!": POD}}},
    ("batch/v1", "CronJob"): {"spec!": {
        "schedule!": TEXT, "timeZone": TEXT, "concurrencyPolicy": TEXT,
        "startingDeadlineSeconds": NUMBER, "jobTemplate!": {"spec!": {
            "backoffLimit": NUMBER, "template!": {"spec!": POD}}}}},
}


def check(value, shape, where):
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        known = {key.rstrip("!"): inner for key, inner in shape.items()}
        assert not set(value) - set(known), (where, set(value) - set(known))
        for key in shape:
            assert not key.endswith("!") or key[:-1] in value, (where, key)
        for key, inner in value.items():
            check(inner, known[key], f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list) and value, where
        for index, inner in enumerate(value):
            check(inner, shape[0], f"{where}[{index}]")
    else:
        wanted = shape if isinstance(shape, tuple) else (shape,)
        assert type(value) in wanted, (where, value)


def documents(name):
    return list(yaml.safe_load_all(read(f"kubernetes/{name}")))


def pods():
    for name in ("blackstart.yaml", "cronjobs.yaml"):
        for document in documents(name):
            spec = document.get("spec", {})
            if document["kind"] == "Deployment":
                yield spec["template"]["spec"]
            elif document["kind"] == "CronJob":
                yield spec["jobTemplate"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", ["blackstart.yaml", "cronjobs.yaml"])
def test_the_manifests_are_what_the_api_wants(name):
    for document in documents(name):
        kind = (document.pop("apiVersion"), document.pop("kind"))
        check(document, {"metadata!": META, **KINDS[kind]}, f"{name}: {kind[1]}")


def test_every_mount_has_its_volume():
    found = list(pods())
    assert len(found) == 3
    for pod in found:
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_the_jobs_and_the_config_in_the_manifests_are_ours(bs, work):
    config, = [document["data"]["blackstart.yaml"] for document in documents("blackstart.yaml")
               if document["kind"] == "ConfigMap"]
    path = os.path.join(work, "blackstart.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(config)
    checked = bs.run("config", "check", "-c", path, expect=(0, 3))
    assert "error" not in checked.err
    names = set(yaml.safe_load(config)["jobs"])
    for pod in pods():
        args = pod["containers"][0]["args"]
        assert args[0] == "serve" or (args[0] == "run" and args[1] in names), args
