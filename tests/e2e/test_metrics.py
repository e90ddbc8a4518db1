"""The metrics, read by Prometheus' own tools; the rules and the dashboard that are shipped with it."""
import contextlib
import json
import os
import re
import sqlite3
import subprocess

import pytest
import yaml

import plant
from postgres import ROOT

RULES = os.path.join(ROOT, "deploy/prometheus/rules.yaml")
NAME = re.compile(r"\bblackstart_[a-z_]+")


def promtool(*args, text=None):
    return subprocess.run(["promtool", *args], input=text, text=True, capture_output=True)


def parse(text):
    """{(name, labels): value}"""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:{(.*)})? (\S+)", line).groups()
            key = (name, tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))))
            assert key not in found, line
            found[key] = float(value)
    return found


@pytest.fixture
def numbers(bs, configure, pg):
    """Runs of a real plant: one that is good, one that failed; and what metrics says of them."""
    path = configure(databases=f"[{plant.EMPTY_DATABASE}]")
    bs.ok("run", "pg-daily", "-c", path)
    bs.ok("verify", "latest", "--level", "1", "-c", path)
    with open(path, encoding="utf-8") as file:
        good = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(good.replace(f"port: {pg.port}", "port: 1"))
    for _ in range(2):
        bs.run("run", "pg-base", "-c", path, expect=1)
    bs.ok("alert", "watch", "-c", path)
    return bs.ok("metrics", "-c", path).out


def test_what_they_say(numbers):
    checked = promtool("check", "metrics", text=numbers)
    assert checked.returncode == 0 and checked.stdout + checked.stderr == "", checked
    found = parse(numbers)

    def of(name, job, **more):
        labels = {"name": job, "source": "postgresql", **more}
        return found.get((f"blackstart_{name}", tuple(sorted(labels.items()))))

    assert of("run_last_status", "pg-daily") == 1 and of("run_last_status", "pg-base") == 0
    assert of("run_failures_in_a_row", "pg-base") == 2
    assert of("runs_total", "pg-base", result="failed") == 2
    assert of("runs_total", "pg-daily", result="ok") == 1
    assert of("expected_interval_seconds", "pg-daily") == 86400
    assert of("max_age_seconds", "pg-daily") == 2 * 86400
    assert of("backups", "pg-daily") == 1 and of("backups", "pg-base") == 0
    assert of("backup_source_bytes", "pg-daily") > 0
    assert of("backup_source_bytes", "pg-base") is None, "not known is no sample, and never 0"
    assert of("run_last_success_timestamp_seconds", "pg-base") is None
    assert of("verify_last_success_timestamp_seconds", "pg-daily", level="1") > 1.7e9
    assert of("verify_last_success_timestamp_seconds", "pg-daily", level="2") is None
    assert found["blackstart_alarms", (("severity", "critical"), ("state", "raised"))] == 1
    assert found["blackstart_store_usable", ()] == 1
    assert not any(label == "job" for _, labels in found for label, _ in labels)


def test_rules_and_dashboard_ask_for_what_there_is(numbers, work):
    declared = set(re.findall(r"^# TYPE (\w+)", numbers, re.M))
    with open(RULES, encoding="utf-8") as file:
        rules = yaml.safe_load(file)["groups"][0]["rules"]
    with open(os.path.join(ROOT, "deploy/grafana/blackstart.json"), encoding="utf-8") as file:
        dashboard = json.load(file)
    asked = [rule["expr"] for rule in rules]
    shown = [target["expr"] for panel in dashboard["panels"]
             for target in panel.get("targets", [])]
    assert len(asked) > 10 and len(shown) > 10
    for text in asked + shown + [v["definition"] for v in dashboard["templating"]["list"]
                                 if v["type"] == "query"]:
        assert NAME.findall(text) and set(NAME.findall(text)) <= declared, text
    # Prometheus itself parses what the dashboard asks.
    path = os.path.join(work, "shown.yaml")
    with open(path, "w", encoding="utf-8") as file:
        yaml.safe_dump({"groups": [{"name": "shown", "rules": [
            {"record": f"shown:{i}", "expr": expr} for i, expr in enumerate(shown)]}]}, file)
    checked = promtool("check", "rules", path)
    assert checked.returncode == 0, checked
    for panel in dashboard["panels"]:
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${DS_PROMETHEUS}"
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description", "runbook_url"} <= set(rule["annotations"])


def test_the_rules_do_what_they_say():
    assert promtool("check", "rules", RULES).returncode == 0
    tested = promtool("test", "rules", os.path.join(ROOT, "deploy/prometheus/rules_test.yaml"))
    assert tested.returncode == 0, tested


def test_names_from_outside_do_not_break_the_format(bs, configure, work):
    """A channel of the catalog may be called anything; the store may not be there yet."""
    path = configure()
    bs.ok("alert", "watch", "-c", path)
    with contextlib.closing(sqlite3.connect(f"{work}/state-c/catalog.db")) as db, db:
        db.execute("INSERT INTO channel VALUES ('a\"b\\c' || char(10) || 'd{}', 1, 1, 7, 3, 0, '')")
    text = bs.ok("metrics", "-c", path).out
    assert promtool("check", "metrics", text=text).returncode == 0
    assert r'blackstart_notify_failures_total{channel="a\"b\\c\nd{}"} 7' in text
    assert "blackstart_store_usable 0" in text and "\nblackstart_store_used_bytes " not in text
