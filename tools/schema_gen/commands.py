"""The tables of the command line, and what the other makers ask about commands."""
from . import c_text


def resolve(schema):
    """The commands, with `same_as` followed for words and options."""
    by_name = {command["name"]: command for command in schema["commands"]}
    return [dict(by_name[command["same_as"]], **command) if "same_as" in command else command
            for command in schema["commands"]]


def groups_of(schema):
    """First words of two-word commands, in order: config, catalog, ..."""
    words = [command["name"].split()[0] for command in schema["commands"]
             if " " in command["name"]]
    return list(dict.fromkeys(words))


def word_usage(word):
    text = word["name"] + ("..." if word.get("many") else "")
    return text if word.get("required") else f"[{text}]"


def option_usage(option):
    """"--kind KIND", "-n, --dry-run" without the letter."""
    value = option_value(option)
    return f"--{option['name']}" + (f" {value}" if value else "")


def option_value(option):
    if option["type"] == "choice":
        return "|".join(option["choices"])
    return option.get("placeholder", "")


def option_row(owner, option, lists):
    fields = [c_text.string(option["name"])]
    if "short" in option:
        fields.append(f".letter = '{option['short']}'")
    fields.append(f".type = OPTION_{option['type'].upper()}")
    if option_value(option):
        fields.append(f".placeholder = {c_text.string(option_value(option))}")
    for name in ("min", "max"):
        if name in option:
            fields.append(f".{name} = {option[name]}")
    definition, name = c_text.name_list(
        f"{owner}_{c_text.identifier(option['name'])}_choices", option.get("choices"))
    lists.append(definition)
    if definition:
        fields.append(f".choices = {name}")
    if "default" in option:
        fields.append(f".fallback = {c_text.string(option['default'])}")
    if option.get("many"):
        fields.append(".is_many = true")
    fields.append(f".doc = {c_text.string(option['doc'])}")
    return "{ " + ", ".join(fields) + " }"


def word_row(word):
    return (f"{{ {c_text.string(word['name'])}, {c_text.boolean(word.get('required'))}, "
            f"{c_text.boolean(word.get('many'))}, {c_text.string(word['doc'])}, "
            f"{c_text.boolean(word.get('type') == 'label')} }}")


def example_row(example):
    return f"{{ {c_text.string(example['run'])}, {c_text.string(example['says'])} }}"


def command_row(command, out):
    owner = c_text.identifier(command["name"])
    parts = []
    lists = []

    for ctype, plural, rows in (
            ("struct command_example", "examples", [example_row(e) for e in command["examples"]]),
            ("struct command_word", "words", [word_row(w) for w in command.get("words", [])]),
            ("struct command_option", "options",
             [option_row(owner, o, lists) for o in command.get("options", [])])):
        definition, name, count = c_text.array(ctype, f"{owner}_{plural}", rows)
        parts.append((definition, f"\t\t.{plural} = {name},\n\t\t.{plural}_count = {count},\n"))
    out += lists + [definition for definition, _ in parts]
    return (f"\t{{\n\t\t.name = {c_text.string(command['name'])},\n"
            f"\t\t.group = {c_text.string(command['group'])},\n"
            f"\t\t.summary = {c_text.string(command['summary'])},\n"
            f"\t\t.needs = COMMAND_NEEDS_{command['needs'].upper()},\n"
            + "".join(fields for _, fields in parts) + "\t},\n")


def make_table(schema):
    program, out = schema["program"], [c_text.note("commands"), "\n"]
    rows = [command_row(command, out) for command in resolve(schema)]
    out.append("static const struct command command_table[] = {\n" + "".join(rows) + "};\n\n")

    lists = []
    options = [option_row("program", option, lists) for option in program["options"]]
    out += lists
    out.append(c_text.array("struct command_option", "global_option_table", options)[0])
    out.append(c_text.array("struct command_example", "program_example_table",
                            [example_row(example) for example in program["examples"]])[0])
    exits = [f"{{ {row['code']}, {c_text.string(row['text'])} }}" for row in program["exits"]]
    out.append(c_text.array("struct command_exit", "exit_table", exits)[0])
    out.append(f"#define PROGRAM_SUMMARY {c_text.string(program['summary'])}\n")
    return "".join(out)
