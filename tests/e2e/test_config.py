"""The configuration: every mistake at once, with line and column, and no secret ever."""
import json
import os
import re
import subprocess
import time

import jsonschema
import pytest
import yaml

import plant
from conftest import make_password_file
from postgres import ADMIN_PASSWORD

GOOD = """\
site: testwerk
timezone: Europe/Berlin
state_dir: {work}/state
store: {{ path: {work}/store }}
sources:
  postgresql: {{ type: postgres, host: 127.0.0.1, user: webscada }}
jobs:
  pg-daily: {{ source: postgresql, do: dump, at: "04:00", keep: 30d }}
"""


class AsWritten(yaml.BaseLoader):
    """Every value a text, but for booleans."""


AsWritten.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), "tf")
AsWritten.add_constructor("tag:yaml.org,2002:bool", lambda loader, node: node.value == "true")


@pytest.fixture
def check(bs, work):
    """check(text): what `config check` says of it, and its problems as (line, column, text)."""
    def run(text, expect=None):
        path = os.path.join(work, "c.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        result = bs.run("config", "check", "-c", path, expect=expect)
        problems = [(int(line), int(column or 0), kind, text) for line, column, kind, text in
                    re.findall(rf"{re.escape(path)}:(\d+)(?::(\d+))?: (error|warning): (.*)",
                               result.out)]
        return result, problems
    return run


def test_a_good_one(check, work):
    result, problems = check(GOOD.format(work=work), expect=0)
    assert problems == [] and "pg-daily" in result.out


def test_every_mistake_at_once(check, bs, work):
    text = """\
site: test werk
timezone: Europe/Atlantis
state_dir: relativ/pfad
store:
  pfad: /backups
  warn: 180%
sources:
  postgresql:
    type: postgress
    host: 127.0.0.1
    port: 99999
    user: webscada
    password: geheim
jobs:
  pg-daily:
    source: postgres
    do: dumb
    at: "25:00"
    keep: 30 Tage
  pg-daily:
    source: postgresql
    do: dump
  pg-x:
    source: postgresql
    do: dump
    at: "02:00"
    every: 6h
tippfehler: 1
"""
    result, problems = check(text, expect=2)
    errors = {line for line, _, kind, _ in problems if kind == "error"}
    lines = text.split("\n")
    for fragment in ("test werk", "Atlantis", "relativ", "pfad:", "180%", "postgress", "99999",
                     "password:", "source: postgres\n".strip(), "dumb", "25:00", "30 Tage",
                     "tippfehler"):
        line = next(i + 1 for i, content in enumerate(lines) if fragment in content)
        assert line in errors, f"{fragment} in line {line} is not told:\n{result.out}"
    assert any("path" in text for _, _, _, text in problems), "the missing key"
    assert "did you mean" in result.text.lower()
    assert "geheim" not in result.text
    columns = {(line, column) for line, column, _, _ in problems}
    assert (11, 5) in columns or (11, 11) in columns
    # Commands that need it refuse in the same way and touch nothing.
    path = os.path.join(work, "c.yaml")
    for verb in (("status",), ("run", "pg-daily"), ("check",), ("prune",), ("config", "show")):
        other = bs.run(*verb, "-c", path, expect=2)
        assert f"{path}:11:" in other.text, other
    assert not os.path.exists(os.path.join(work, "store"))
    data = bs.run("config", "check", "-c", path, "--json", expect=2).json
    assert {p["line"] for p in data["problems"]} >= errors


@pytest.mark.parametrize("change, word", [
    (("do: dump", "do: snapshot"), "snapshot"),
    (("type: postgres", "type: influx"), "influx"),
])
def test_what_belongs_to_later_versions_is_a_warning(check, work, change, word):
    _, problems = check(GOOD.format(work=work).replace(*change), expect=(0, 2, 3))
    if word:
        assert any(word in text for _, _, _, text in problems)
        assert all(kind == "warning" for _, _, kind, _ in problems) or "type" in change[0]


def test_a_keep_shorter_than_the_interval(check, work):
    _, problems = check(GOOD.format(work=work).replace("30d", "1h"), expect=(2, 3))
    assert problems and problems[0][0] == 8


def test_two_jobs_that_want_the_same_name(check, work):
    text = GOOD.format(work=work) + \
        '  other: { source: postgresql, do: dump, at: "04:00", keep: 30d }\n'
    _, problems = check(text, expect=(0, 2, 3))
    assert problems, "both write backup-DAY.dump"


def test_a_time_inside_a_clock_change(check, work):
    _, problems = check(GOOD.format(work=work).replace("04:00", "02:30"), expect=3)
    assert problems[0][2] == "warning" and problems[0][0] == 8


@pytest.mark.parametrize("text, word", [
    ("site: [unclosed", None),
    ("\tsite: x\n", None),
    ("site: x\nsite: y\n", "site"),
    ("- a\n- b\n", None),
    ("", None),
    ("nur ein Wort\n", None),
    ("site: !!python/object:os.system x\n", None),
    ("\0\0\0", None),
    ("site: \xff\n", None),
    ("--- \nsite: a\n--- \nsite: b\n", None),
])
def test_what_is_no_such_yaml(bs, work, text, word):
    path = os.path.join(work, "c.yaml")
    with open(path, "wb") as file:
        file.write(text.encode("latin-1"))
    result = bs.run("config", "check", "-c", path, expect=2)
    assert path in result.text
    if word:
        assert word in result.text


@pytest.mark.parametrize("bomb", ["laughs", "deep", "long", "aliases of itself"])
def test_yaml_bombs(bs, work, bomb):
    path = os.path.join(work, "c.yaml")
    text = {
        "laughs": "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
        "deep": "a: " + "[" * 100000,
        "long": "site: " + "x" * (50 << 20),
        "aliases of itself": "a: &a [*a, *a]\n",
    }[bomb]
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    result = bs.run("config", "check", "-c", path, expect=2, timeout=20)
    assert result.seconds < 3
    assert result.peak_kb < 150 << 10, result
    assert len(result.text) < 100000


def test_times_stay_text(bs, configure, store):
    """02:00 without quotes is 7200 in YAML 1.1."""
    path = configure(jobs={"j": "source: postgresql, do: dump, at: 02:00, keep: 30d"})
    assert "02:00" in bs.ok("config", "show", "-c", path).out


def test_show_and_effective(bs, configure):
    path = configure()
    plain = bs.ok("config", "show", "-c", path).out
    assert yaml.safe_load(plain)["site"] == "testwerk"
    assert "compression" not in plain
    full = bs.ok("config", "show", "--effective", "-c", path).out
    assert "compression" in full and "default" in full
    bs.json("config", "show", "-c", path)


def test_the_example_is_good_and_the_schema_agrees(bs, work):
    path = os.path.join(work, "init.yaml")
    text = bs.ok("config", "init").out
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    bs.run("config", "check", "-c", path, expect=(0, 3))
    schema = json.loads(bs.ok("config", "schema").out)
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(yaml.load(text, AsWritten), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"site": "x", "falsch": 1}, schema)


def test_no_config_at_all(bs):
    result = bs.run("status", expect=2)
    assert "/etc/blackstart/blackstart.yaml" in result.err
    assert "--store" in result.err or "config init" in result.err


def test_a_job_or_source_that_is_not_there(bs, configure):
    path = configure()
    result = bs.run("run", "pg-dayly", "-c", path, expect=2)
    assert "pg-daily" in result.err, "did you mean"
    bs.run("check", "postgrsql", "-c", path, expect=2)
    bs.run("prune", "pg-dayly", "-c", path, expect=2)


# --- secrets --------------------------------------------------------------------------------------------

def test_a_password_in_the_url_is_refused(bs, pg, store):
    bs.secrets.append("im-klartext")
    result = bs.run("backup", f"postgres://webscada:im-klartext@127.0.0.1:{pg.port}/webscada",
                    "--store", store, expect=2)
    assert "--password-file" in result.err
    for verb in (("check",), ("restore", "x", "--to"), ("promote", "x", "--confirm=y", "--to")):
        bs.run(*verb, f"postgres://webscada:im-klartext@127.0.0.1:{pg.port}/", "--store", store,
               expect=(1, 2))


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o777])
def test_a_secret_others_can_read_is_refused(bs, pg, store, work, mode):
    path = make_password_file(os.path.join(work, "pw"), "steht-offen-da")
    os.chmod(path, mode)
    bs.secrets.append("steht-offen-da")
    result = bs.run("backup", pg.url(), "--store", store, "--password-file", path,
                    expect=(1, 2, 5))
    assert path in result.err and "chmod" in result.err


@pytest.mark.parametrize("content, is_good", [
    ("{}", True), ("{}\n", True), ("{}\r\n", True), ("{}\nzweite Zeile\n", True), ("", False),
    ("\n", False), ("x" * 100000, False)])
def test_what_a_password_file_may_hold(bs, pg, store, work, content, is_good):
    path = os.path.join(work, "pw")
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(content.replace("{}", ADMIN_PASSWORD))
    os.chmod(path, 0o600)
    result = bs.run("backup", pg.url("leer"), "--store", store, "--password-file", path)
    assert (result.code == 0) is is_good, result


def test_a_missing_password_file(bs, pg, store, work):
    result = bs.run("backup", pg.url(), "--store", store, "--password-file",
                    os.path.join(work, "nicht-da"), expect=(1, 2))
    assert "nicht-da" in result.err


def test_a_password_file_beside_the_config(bs, configure, work, store):
    make_password_file(os.path.join(work, "hier"), ADMIN_PASSWORD)
    path = configure()
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"password_file: [^,]*", "password_file: hier", file.read())
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    bs.ok("run", "pg-daily", "-c", path, cwd="/")


def test_credentials_directory(bs, configure, work, store):
    folder = os.path.join(work, "cred")
    os.mkdir(folder, 0o700)
    make_password_file(os.path.join(folder, "pg"), ADMIN_PASSWORD)
    path = configure()
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"password_file: [^,]*", "password_file: pg", file.read())
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    bs.ok("run", "pg-daily", "-c", path, env={"CREDENTIALS_DIRECTORY": folder})


@pytest.mark.parametrize("verb", ["dump", "base", "restore", "verify"])
def test_the_password_is_in_no_command_line_and_no_environment(bs, pg, dump_store, password_file,
                                                               verb):
    """Everybody on the machine can read both; a core dump could too."""
    from program import Spy
    args = {
        "dump": ("backup", pg.url(plant.DATABASE), "--rate", "2MiB"),
        "base": ("backup", pg.url(), "--kind", "base", "--rate", "40MiB"),
        "restore": ("restore", "postgresql", "--to", pg.url(), "--as", "spionage"),
        "verify": ("verify", "latest", "--level", "3"),
    }[verb]
    options = () if verb == "verify" else ("--password-file", password_file)
    running = bs.start(*args, *options, "--store", dump_store)
    spy = Spy(running.pid)
    try:
        time.sleep(0.1)
        with open(f"/proc/{running.pid}/limits", encoding="ascii") as file:
            core = [line for line in file if line.startswith("Max core file size")][0]
        result = running.wait()
    finally:
        seen = spy.stop()
        pg.drop("spionage")
    assert result.code == 0, result
    pids = {pid for pid, _ in seen}
    assert len(pids) > (1 if verb in ("dump", "restore", "verify") else 0), "children were seen"
    for (pid, what), texts in seen.items():
        for text in texts:
            assert ADMIN_PASSWORD.encode() not in text, (pid, what, text)
    assert core.split()[4:6] == ["0", "0"], core
    bs.assert_no_secret_on_disk(dump_store.path)


def test_strange_values_on_the_command_line(bs, pg, store):
    for args in (("backup",), ("backup", "mysql://x@y/z"), ("backup", "webscada"),
                 ("backup", pg.url(), "--rate", "schnell"),
                 ("backup", pg.url(), "--rate", "-5"), ("backup", pg.url(), "--parallel", "0"),
                 ("backup", pg.url(), "--parallel", "99999999999999999999"),
                 ("backup", pg.url(), "--kind", "wal"), ("backup", pg.url(), "--kinnd", "dump"),
                 ("backup", pg.url(), "--name", "../../etc"), ("backup", pg.url(), "--name", ""),
                 ("backup", "postgres://a@b:99999/c"), ("backup", "postgres://a@b:0x10/c"),
                 ("verify", "latest", "--level", "9"), ("verify", "latest", "--level", "3x"),
                 ("lisst",), ("config",), ("config", "chek"), ("show",),
                 ("restore",), ("promote",), ("list", "a", "b", "c"), ("--unbekannt",)):
        result = bs.run(*args, "--store", store, expect=(0, 2) if args == ("config",) else 2)
        assert "hint:" in result.err or args == ("config",), result
    assert not os.path.exists(store.path)


def test_strange_bytes_on_the_command_line(bs, store, work):
    from program import BINARY
    for arg in (b"\xff\xfe", b"a\nb", b"\x1b[31mrot", b"%s%n%n", b"x" * 100000):
        code = subprocess.run([BINARY, "show", arg, "--store", str(store)], env=bs.env,
                              capture_output=True, check=False)
        assert code.returncode in (1, 2), code
        assert b"\x1b" not in code.stdout + code.stderr
