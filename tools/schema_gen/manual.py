"""The manual pages blackstart(1) and blackstart.yaml(5)."""
from . import commands, words
from .roff import bold, escape, head, italic, item


def full_stop(text):
    """A sentence made of a note: first letter large unless it begins a name, full stop."""
    first = text.split()[0]
    begin = text[0] if "/" in first or first.endswith(":") else text[0].upper()
    return begin + text[1:] + ("" if text.endswith(".") else ".")


def examples(rows):
    """Between other paragraphs; a leading .PP would be one too many behind a heading."""
    return "".join(f"{escape(full_stop(row['says']))}\n.PP\n.RS 4\n.nf\n"
                   f"{escape(row['run'])}\n.fi\n.RE\n.PP\n" for row in rows)


def option_item(option):
    names = ", ".join(([bold("-" + option["short"])] if "short" in option else [])
                      + [bold("--" + option["name"])])
    value = commands.option_value(option)
    if value:
        names += " " + (italic(value) if option["type"] != "choice" else escape(value))
    doc = option["doc"]
    if "default" in option:
        doc += f"; {option['default']} if not given"
    return item(names, full_stop(doc))


def usage(command):
    parts = [bold("blackstart " + command["name"])]
    parts += [italic(commands.word_usage(word)) for word in command.get("words", [])]
    parts += ["[" + bold("--" + option["name"])
              + (" " + italic(commands.option_value(option)) if commands.option_value(option) else "")
              + "]" for option in command.get("options", [])]
    return " ".join(parts)


def command_section(command):
    out = [f".SS {escape(command['name'])}\n", f"{escape(full_stop(command['summary']))}\n",
           f".PP\n{usage(command)}\n"]
    out += [item(italic(word["name"]), full_stop(word["doc"])) for word in command.get("words", [])]
    out += [option_item(option) for option in command.get("options", [])]
    out.append(".PP\n" + examples(command["examples"]))
    codes = ", ".join(str(code) for code in [0, 1, 2] + command.get("exits", []) + [130])
    out.append(f"Exit codes: {codes}.\n")
    return "".join(out)


def make_program(schema):
    program = schema["program"]
    out = [head("BLACKSTART", 1, program["summary"]),
           f".SH SYNOPSIS\n{bold('blackstart')} {italic('VERB')} [{italic('NAME')}] "
           f"[{italic('options')}]\n",
           ".SH EXAMPLES\n", examples(program["examples"]).removesuffix(".PP\n"),
           ".SH OPTIONS OF EVERY COMMAND\n",
           "Options may stand before or behind the verb. A double dash ends them.\n"]
    out += [option_item(option) for option in program["options"]]
    out.append(".SH COMMANDS\n")
    out += [command_section(command) for command in commands.resolve(schema)]
    out.append(".SH EXIT CODES\n")
    out += [item(bold(row["code"]), full_stop(row["text"])) for row in program["exits"]]
    out.append(".SH FILES\n" + item(italic("/etc/blackstart/blackstart.yaml"),
                                    "The configuration, see blackstart.yaml(5)."))
    out.append(".SH ENVIRONMENT\n"
               + item(bold("NO_COLOR"), "When it is set to anything, no colours are used.")
               + item(bold("CREDENTIALS_DIRECTORY"),
                      "Where secret files with a relative name are looked for first.")
               + item(bold("PGPASSFILE"), "The password file of libpq, where no other is given.")
               + item(bold("TZDIR"), "Where the time zones are, in place of /usr/share/zoneinfo."))
    out.append(".SH SEE ALSO\n" + ".BR blackstart.yaml (5)\n")
    return "".join(out)


def key_value(key):
    if key["type"] == "choice":
        return "|".join(key["choices"])
    return {"section": "", "map": "", "ignored": "", "number": "N", "level": "auto|0..4",
            "bool": "true|false", "percent": "PERCENT", "size": "SIZE", "duration": "DURATION",
            "list": "TEXT | [TEXT, ...]", "folders": "auto | DIR | [DIR, ...]",
            "keep": "DURATION | unlimited | { COUNTS }", "absolute": "/PATH", "path": "FILE",
            "label": "NAME", "zone": "ZONE", "text": "TEXT", "smoke": "[QUERY, ...]"}[key["type"]]


def key_item(key):
    notes = []
    if key.get("required"):
        notes.append("Required.")
    if "default" in key:
        notes.append(f"Default: {key['default']}.")
    if "min" in key and "max" in key:
        notes.append(f"From {key['min']} to {key['max']}.")
    value = key_value(key)
    label = bold(key["name"] + ":") + (" " + italic(value) if value else "")
    return item(label, " ".join([key["doc"]] + notes))


TITLES = {"root": "TOP LEVEL", "store": "STORE", "source": "SOURCES", "job": "JOBS",
          "verify": "VERIFY, IN A JOB", "alerts": "ALERTS", "alert_rules": "RULES, IN ALERTS",
          "blackout": "BLACKOUTS", "channel": "CHANNELS, IN ALERTS"}


def make_config(schema):
    out = [head("BLACKSTART.YAML", 5, "the configuration of blackstart"),
           ".SH DESCRIPTION\n",
           f"{escape(schema['sections']['root']['doc'])}\n",
           ".PP\nDurations are a number and a unit, or several: ms, s, min, h, d, w, y, like 30d "
           "or 1h30min. Sizes are a number and a unit: KiB, MiB, GiB, TiB are powers of 1024, kB, "
           "MB, GB, TB of 1000. Anchors, aliases and tags of YAML are refused.\n"]
    for name in TITLES:
        section = schema["sections"][name]
        out.append(f".SH {TITLES[name]}\n")
        if name != "root":
            out.append(f"{escape(section['doc'])}\n")
        out += [key_item(key) for key in section["keys"] if key["type"] != "ignored"]
    example = "\n".join(escape(line) for line in words.make_example(schema).splitlines())
    out.append(f".SH EXAMPLE\n.nf\n{example}\n.fi\n.SH SEE ALSO\n.BR blackstart (1)\n")
    return "".join(out)
