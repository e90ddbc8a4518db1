#!/usr/bin/python3
"""What is made from schema/*.yaml besides C must be good for the programs that read it.

usage: test_schema.py SOURCE_ROOT
"""
import json
import os
import re
import subprocess
import sys
import tempfile

import jsonschema
import yaml

ROOT = sys.argv[1]


def make(what, schema):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "made")
        subprocess.run([sys.executable, os.path.join(ROOT, "tools/schema-gen"), what,
                        os.path.join(ROOT, "schema", schema), path], check=True)
        with open(path, encoding="utf-8") as file:
            return file.read()


def load(name):
    with open(os.path.join(ROOT, "schema", name), encoding="utf-8") as file:
        return yaml.safe_load(file)


def check_json_schema():
    schema = json.loads(make("config-json-schema", "config.yaml"))
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    good = {"site": "north", "timezone": "UTC", "store": {"path": "/b", "warn": "80%"},
            "sources": {"pg": {"type": "postgres", "host": "h", "user": "u", "databases": ["a"]},
                        "influx": {"type": "influx", "org": "x"}},
            "jobs": {"a": {"source": "pg", "do": "dump", "at": "02:00", "keep": {"daily": 3},
                           "verify": {"level": 4, "smoke": ["x", {"sql": "y"}]}},
                     "b": {"source": "influx", "do": "snapshot", "aof": True}},
            "alerts": {"digest": "07:00", "rules": {"disable": ["lost"]},
                       "channels": {"mail": {"type": "email", "host": "h", "port": 25}}}}
    validator.validate(good)
    validator.validate(yaml.safe_load(make("config-example", "config.yaml")))
    for path, value in ((("sit",), "x"), (("store", "path"), "b"), (("store", "wran"), "1%"),
                        (("sources", "pg", "prot"), 1), (("sources", "pg", "port"), 70000),
                        (("sources", "a b"), {"type": "influx"}),
                        (("jobs", "a", "keep"), "30"), (("jobs", "a", "keep"), {"dayly": 1}),
                        (("jobs", "a", "verify", "level"), 9), (("alerts", "x"), 1),
                        (("alerts", "channels", "mail", "type"), "pager"),
                        (("jobs", "a", "foo"), 1)):
        bad = json.loads(json.dumps(good))
        at = bad
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        assert not validator.is_valid(bad), f"accepted: {path} = {value}"


def check_manuals():
    for what, schema in (("man-1", "commands.yaml"), ("man-5", "config.yaml")):
        page = make(what, schema)
        for number, line in enumerate(page.splitlines(), 1):
            assert not line.startswith(("'", ". ")), f"{what}:{number}: {line}"
            assert re.match(r"\.(\\\"|TH|SH|SS|TP|PP|RS|RE|nf|fi|BR|nh|ad)\b|\.\\\"|[^.]|$", line), \
                f"{what}:{number}: {line}"
            # In running text every dash is a minus that can be copied into a shell.
            assert re.match(r"\.(TH|\\\")", line) or not re.search(r"(?<!\\)-", line), \
                f"{what}:{number}: {line}"


def complete(script, line):
    """What bash offers at the end of `line`."""
    words = line.split(" ")
    program = ('source /dev/stdin <<< "$SCRIPT"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
               '_blackstart; printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", program, "bash"] + words, check=True, text=True,
                          stdout=subprocess.PIPE, env=dict(os.environ, SCRIPT=script), cwd=ROOT)
    return done.stdout.split()


def check_completion():
    script = make("bash-completion", "commands.yaml")
    first = {command["name"].split()[0] for command in load("commands.yaml")["commands"]}
    assert set(complete(script, "blackstart ")) == first
    assert complete(script, "blackstart ver") == ["verify", "version"]
    assert complete(script, "blackstart config ch") == ["check"]
    assert complete(script, "blackstart --store /x backup url --ki") == ["--kind"]
    assert complete(script, "blackstart backup --kind ") == ["dump", "base", "rdb", "aof"]
    assert complete(script, "blackstart backup --kind b") == ["base"]
    assert "--store" in complete(script, "blackstart --")
    assert complete(script, "blackstart --store sche") == ["schema"]
    assert "--level" in complete(script, "blackstart verify latest --")
    assert "--level" not in complete(script, "blackstart list --")
    zsh = make("zsh-completion", "commands.yaml")
    assert zsh.startswith("#compdef blackstart\n") and zsh.replace("'\\''", "").count("'") % 2 == 0


def check_deterministic():
    for what, schema in (("config-table", "config.yaml"), ("commands-table", "commands.yaml"),
                         ("man-1", "commands.yaml"), ("config-words", "config.yaml")):
        assert make(what, schema) == make(what, schema), what


def check_commands():
    """Every example is a command line that the schema itself allows."""
    schema = load("commands.yaml")
    by_name = {command["name"]: command for command in schema["commands"]}
    for command in schema["commands"]:
        assert command["examples"], command["name"]
        for example in command["examples"]:
            assert example["run"].startswith(f"blackstart {command['name']}"), example
            known = by_name[command.get("same_as", command["name"])].get("options", [])
            names = {"--" + option["name"] for option in known + schema["program"]["options"]}
            used = set(re.findall(r"(?<= )--[a-z-]+", example["run"]))
            assert used <= names, f"{example['run']}: {used - names}"


def main():
    for check in (check_json_schema, check_manuals, check_completion, check_deterministic,
                  check_commands):
        check()
        print("ok", check.__name__)


if __name__ == "__main__":
    main()
