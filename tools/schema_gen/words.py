"""The texts that `config schema` and `config init` print."""
import json

from . import c_text, config

DURATION = r"^([0-9]+(ms|s|sec|m|min|h|d|w|y))+$"
LABEL = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
# Every value is a text to us, but an editor's YAML has numbers and booleans.
SCALAR = ["string", "number", "boolean"]


def json_type(schema, key):
    """The JSON Schema of a key's value, without its description."""
    kind = key["type"]
    low, high = config.limits(key)
    text = {"type": "string"}
    if kind == "section":
        return json_section(schema, key["section"])
    if kind == "map":
        return {"type": "object", "propertyNames": {"pattern": LABEL},
                "additionalProperties": json_section(schema, key["section"])}
    if kind == "choice":
        return {"enum": key["choices"] + key.get("later", [])}
    if kind == "number":
        return {"anyOf": [{"type": "integer", "minimum": low, "maximum": high}]
                + ([{"const": key["zero"]}] if "zero" in key else [])}
    if kind == "level":
        return {"anyOf": [{"type": "integer", "minimum": low, "maximum": high}, {"const": "auto"}]}
    if kind in ("list", "folders"):
        return {"anyOf": [{"type": SCALAR}, {"type": "array", "items": {"type": SCALAR}}]}
    if kind == "keep":
        count = {"type": "integer", "minimum": 1}
        names = ("last", "daily", "weekly", "monthly", "yearly")
        return {"anyOf": [{"type": "string", "pattern": DURATION}, {"const": "unlimited"},
                          {"type": "object", "additionalProperties": False, "minProperties": 1,
                           "properties": {name: count for name in names}}]}
    if kind == "smoke":
        query = {"type": "object", "additionalProperties": False, "required": ["sql"],
                 "properties": {"database": text, "sql": text, "expect": {"type": SCALAR}}}
        one = {"anyOf": [text, query]}
        return {"anyOf": [text, query, {"type": "array", "items": one}]}
    return {
        "ignored": {},
        "bool": {"type": "boolean"},
        "percent": {"anyOf": [{"type": "string", "pattern": "^[0-9]{1,3}%?$"},
                              {"type": "integer", "minimum": 0, "maximum": 100}]},
        "duration": {"type": "string", "pattern": DURATION if "zero" not in key else
                     f"{DURATION}|^{key['zero']}$"},
        "size": {"type": ["string", "integer"]},
        "label": {"type": SCALAR, "pattern": LABEL},
        "absolute": {"type": "string", "pattern": "^/"},
        "text": {"type": SCALAR},
        "path": text,
        "zone": text,
    }[kind]


def json_section(schema, name):
    section = schema["sections"][name]
    properties = {}
    for key in section["keys"]:
        properties[key["name"]] = dict(json_type(schema, key), description=key["doc"])
        if "default" in key:
            properties[key["name"]]["default"] = key["default"]
    result = {"type": "object", "description": section["doc"], "properties": properties,
              "required": [key["name"] for key in section["keys"] if key.get("required")]}
    result["additionalProperties"] = False
    for key in section["keys"]:
        if key.get("later"):
            # What belongs to a later version has keys of its own: strict only for the known.
            return {"type": "object", "required": [key["name"]],
                    "properties": {key["name"]: {"type": "string"}},
                    "if": {"properties": {key["name"]: {"enum": key["choices"]}}},
                    "then": result}
    return result


def make_json_schema(schema):
    document = {"$schema": "http://json-schema.org/draft-07/schema#",
                "title": "blackstart configuration"}
    document.update(json_section(schema, "root"))
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def wrap(text, width):
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return lines + [line]


def example_section(schema, name, indent, is_off=False):
    """Lines of a section; what is not set stands behind '# ', unless the whole section does."""
    out = []
    pad = "  " * indent
    off = "" if is_off else "# "
    for key in schema["sections"][name]["keys"]:
        if key.get("hide") or key["type"] == "ignored" or "alias" in key:
            continue
        out += [f"{pad}# {line}" for line in wrap(key["doc"], 88 - len(pad))]
        if key["type"] == "map":
            out += [f"{pad}{key['name']}:", f"{pad}  {key['example']}:"]
            out += example_section(schema, key["section"], indent + 2, is_off)
        elif key["type"] == "section" and key.get("required"):
            out.append(f"{pad}{key['name']}:")
            out += example_section(schema, key["section"], indent + 1)
        elif key["type"] == "section":
            out.append(f"{pad}# {key['name']}:")
            out += [f"{pad}# {line}" for line in example_section(schema, key["section"], 1, True)]
        elif "example" in key:
            out.append(f"{pad}{key['name']}: {key['example']}")
        else:
            out.append(f"{pad}{off}{key['name']}: {key.get('show', key.get('default'))}")
        if indent == 0:
            out += ["", *MORE_JOBS.splitlines(), ""] if key["name"] == "jobs" else [""]
    return out


HEAD = """\
# The configuration of blackstart. 'blackstart config check' finds what is wrong with it;
# what is commented out shows the default, or an example where there is none.

"""

MORE_JOBS = """\
  # A second job of the same source: the whole cluster, file by file.
  pg-base:
    source: postgresql
    do: base
    at: "01:00"
    keep: 7d

  # A third one: what the server writes between two base backups, as it is written.
  pg-wal:
    source: postgresql
    do: wal
    # Stream from the server all the time. Without it the job only looks after what
    # archive_command put into the store, and may have a time like the others.
    continuous: true
    keep: 7d
    # The replication slot on the server, made when it is missing.
    # slot: blackstart
    # The name for synchronous_standby_names.
    # standby_name: blackstart
    # How often a quiet server gets a commit of ours, so that it can be brought back to now.
    # heartbeat: 60s
"""


def make_example(schema):
    return HEAD + "\n".join(example_section(schema, "root", 0)).rstrip("\n") + "\n"


def make_header(schema):
    return (f"{c_text.note('config')}\nstatic const char schema_text[] =\n"
            f"{c_text.lines(make_json_schema(schema))};\n\nstatic const char example_text[] =\n"
            f"{c_text.lines(make_example(schema))};\n")
