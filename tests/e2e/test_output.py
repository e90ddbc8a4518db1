"""What people and programs get to read."""
import json
import os
import pty
import re
import time

import jsonschema
import pytest
import yaml

import plant
from postgres import ROOT
from program import BINARY

with open(os.path.join(ROOT, "schema/commands.yaml"), encoding="utf-8") as schema_file:
    COMMANDS = yaml.safe_load(schema_file)["commands"]
VERBS = [command["name"] for command in COMMANDS]


@pytest.mark.parametrize("verb", [""] + [verb for verb in VERBS if verb != "help"])
def test_help_fits_and_begins_with_examples(bs, verb):
    result = bs.ok(*verb.split(), "--help")
    lines = result.out.split("\n")
    assert max(len(line) for line in lines) <= 80, max(lines, key=len)
    assert result.err == ""
    if verb:
        text = result.out
        assert "blackstart " + verb in text, text
        command = next(c for c in COMMANDS if c["name"] == verb)
        for option in command.get("options", []):
            assert "--" + option["name"] in text
        if command.get("options"):
            example = command["examples"][0]["run"].split("'")[0][:40].strip()
            assert " ".join(example.split()) in " ".join(text.split())
    assert bs.ok("help", *verb.split()).out == result.out


def test_no_argument_shows_the_overview(bs):
    out = bs.run(expect=(0, 2)).text
    for verb in ("backup", "verify", "restore"):
        assert verb in out


def test_version(bs):
    assert re.search(r"blackstart \d+\.\d+", bs.ok("version").out)
    assert bs.ok("--version").out == bs.ok("version").out
    assert bs.json("version")


@pytest.fixture
def everything(bs, configure, store):
    """A config, a store with a proved and a damaged backup, and a failed run."""
    path = configure()
    bs.ok("run", "pg-daily", "-c", path)
    bs.ok("verify", "latest", "--level", "1", "-c", path)
    bs.ok("run", "pg-base", "-c", path)
    broken = configure(user="niemand", name="broken.yaml")
    bs.run("run", "pg-daily", "-c", broken, expect=1)
    return path


@pytest.mark.parametrize("args", [
    ("check",), ("status",), ("list",), ("show", "latest"), ("verify", "latest", "--level", "0"),
    ("plan", "restore", "postgresql"), ("prune",), ("pin", "latest"), ("catalog", "rebuild"),
    ("catalog", "export"), ("config", "check"), ("config", "show"), ("doctor",), ("version",),
    ("run", "pg-daily"), ("log", "RUN"), ("config", "schema"),
])
def test_json_everywhere(bs, everything, args):
    """One object with its schema on stdout, and the text for people elsewhere."""
    if "RUN" in args:
        args = ("log", bs.json("catalog", "export", "-c", everything)["runs"][0]["id"])
    result = bs.run(*args, "--json", "-c", everything, expect=(0, 1, 3))
    value = json.loads(result.out)
    if args == ("config", "schema"):
        assert "$schema" in value
        return
    assert re.fullmatch(r"blackstart\.[a-z_]+/\d+", value["schema"])
    assert_ids_are_text(value)


def assert_ids_are_text(value):
    """No number that JavaScript would round."""
    if isinstance(value, dict):
        for child in value.values():
            assert_ids_are_text(child)
    elif isinstance(value, list):
        for child in value:
            assert_ids_are_text(child)
    elif isinstance(value, int):
        assert abs(value) < 2 ** 53


def test_json_of_failures(bs, store, work):
    os.mkdir(store.path)
    for args in (("show", "nicht-da"), ("verify", "latest"), ("restore", "nicht-da")):
        result = bs.run(*args, "--json", "--store", store, expect=(1, 2, 5))
        value = json.loads(result.out)
        assert value["schema"].startswith("blackstart.error/")
        assert value["error"]["kind"] and value["error"]["message"]


STATUS = {
    "type": "object",
    "required": ["schema", "jobs"],
    "properties": {
        "schema": {"const": "blackstart.status/1"},
        "jobs": {"type": "array", "minItems": 2, "items": {
            "type": "object",
            "required": ["job", "source", "kind"],
            "properties": {"job": {"type": "string"}, "source": {"type": "string"},
                           "kind": {"type": "string"}},
        }},
    },
}


def test_status(bs, everything):
    """The failed run is not hidden by the good one before it, nor by the other job."""
    value = bs.json("status", "-c", everything, expect=(0, 1, 3))
    jsonschema.validate(value, STATUS)
    text = bs.run("status", "-c", everything, expect=(0, 1, 3)).out
    assert "pg-daily" in text and "failed" in text
    assert "Can we recover?  Yes" in text
    assert re.search(r"L1", text)


def test_status_of_nothing(bs, store):
    """Its first backup failed: there is a store, and nothing in it."""
    bs.run("backup", "postgres://niemand@127.0.0.1:1/x", "--store", store, expect=1)
    if os.path.exists(store.path):
        assert "NO" in bs.run("status", "--store", store, expect=(0, 1, 3)).out


def test_status_complains_when_a_backup_is_too_old(bs, configure, store):
    path = configure(databases=f"[{plant.EMPTY_DATABASE}]", jobs={
        "pg-daily": 'source: postgresql, do: dump, at: "02:00", keep: 30d'})
    bs.ok("run", "pg-daily", "-c", path)
    assert bs.run("status", "-c", path).code == 0
    model = store.backup()
    store.craft(model, 5)
    for name in [model.path, *model.files]:
        os.unlink(name)
    result = bs.run("status", "-c", path, expect=(1, 3))
    assert "old" in result.text or "overdue" in result.text or "ago" in result.text


def test_the_log_of_a_run(bs, everything):
    runs = bs.json("catalog", "export", "-c", everything)["runs"]
    failed = [run for run in runs if run["state"] == "failed"]
    assert failed
    text = bs.ok("log", failed[0]["id"], "-c", everything).out
    assert "niemand" in text and failed[0]["id"] in text
    assert re.search(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ", text, re.M)
    result = bs.run("log", "nicht-da", "-c", everything, expect=1)
    assert "hint:" in result.err


def on_terminal(bs, *args, **env):
    """Run it on a terminal and return what came."""
    pid, descriptor = pty.fork()
    if pid == 0:
        os.execve(BINARY, [BINARY, *map(str, args)], {**bs.env, "TERM": "xterm", **env})
    data = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            block = os.read(descriptor, 4096)
        except OSError:
            break
        if not block:
            break
        data += block
    os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), data.decode("utf-8", "replace")


@pytest.mark.parametrize("how", ["NO_COLOR", "--no-color", "TERM=dumb"])
def test_no_colours_when_not_wanted(bs, dump_store, how):
    env = {"NO_COLOR": "1"} if how == "NO_COLOR" else {"TERM": "dumb"} if "=" in how else {}
    options = ["--no-color"] if how == "--no-color" else []
    for args in (("status",), ("list",), ("show", "latest"), ("show", "nicht-da")):
        _, text = on_terminal(bs, *args, *options, "--store", dump_store, **env)
        assert not re.search(r"\x1b\[[0-9;]*m", text), repr(text)


def test_a_progress_bar_on_a_terminal_only(bs, pg, store, password_file):
    args = ("backup", pg.url(plant.DATABASE), "--kind", "base", "--rate", "30MiB", "--store", store,
            "--password-file", password_file)
    code, text = on_terminal(bs, *args)
    assert code == 0
    assert "%" in text and ("\r" in text.replace("\r\n", ""))
    # Not on a terminal: at most some lines, and no carriage returns.
    result = bs.ok(*args)
    assert "\r" not in result.text
    assert len(result.err.split("\n")) < 30


def test_quiet_and_verbose(bs, pg, store, password_file):
    args = ("backup", pg.url("leer"), "--store", store, "--password-file", password_file)
    assert bs.ok(*args, "-q").err == ""
    assert len(bs.ok(*args, "-v").err) > 20


def test_control_characters_in_names_reach_no_terminal(bs, dump_store):
    backup = dump_store.backup()
    backup.rewrite(lambda manifest: manifest["source"].update(version="\x1b[31m15\x07"))
    for args in (("list",), ("show", "latest"), ("status",)):
        bs.run(*args, "--store", dump_store, expect=(0, 1, 3))   # judged by every run's rules


def test_list_filters_and_order(bs, dump_store):
    model = dump_store.backup()
    ids = [dump_store.craft(model, age) for age in (3, 1, 2)]
    listed = [entry["id"] for entry in bs.listed(dump_store)]
    assert listed == [model.id, ids[1], ids[2], ids[0]]
    assert [e["id"] for e in bs.listed(dump_store, "--limit", "2")] == listed[:2]
    assert bs.listed(dump_store, "--kind", "base") == []
    assert len(bs.json("list", "postgresql", "--store", dump_store)["backups"]) == 4
    assert len(bs.json("list", "postgresql-dump", "--store", dump_store)["backups"]) == 4


def test_a_unique_beginning_of_an_id_is_enough(bs, dump_store):
    backup = dump_store.backup()
    assert backup.id in bs.ok("show", backup.id[:-2], "--store", dump_store).out
    dump_store.craft(backup, 1)
    result = bs.run("show", backup.id[:10], "--store", dump_store, expect=(1, 2))
    assert "hint:" in result.err or "unique" in result.err or "several" in result.err


def test_doctor(bs):
    text = bs.run("doctor", expect=(0, 3)).out
    assert "PostgreSQL" in text and "config" in text


def test_dry_run_of_a_backup(bs, pg, store, password_file):
    result = bs.ok("backup", pg.url(plant.DATABASE), "-n", "--store", store, "--password-file",
                   password_file)
    assert "would" in result.out and not os.path.exists(store.path)


def test_completion_and_manual_are_made(bs):
    """What is built from the same tables: at least that it holds every verb."""
    found = []
    for parent, _, names in os.walk(os.path.dirname(BINARY)):
        found += [os.path.join(parent, name) for name in names
                  if re.fullmatch(r"blackstart(\.bash.*|\.1)", name)]
    assert len(found) >= 2, found
    for path in found:
        with open(path, encoding="utf-8") as file:
            text = file.read().replace("\\-", "-")
        for verb in VERBS:
            assert verb.split()[0] in text, (verb, path)
