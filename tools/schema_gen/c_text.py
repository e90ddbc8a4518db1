"""How values are written in C."""


def note(schema):
    return f"/* Made from schema/{schema}.yaml by tools/schema-gen; do not edit. */\n"


def string(text):
    """A string literal, or NULL."""
    if text is None:
        return "NULL"
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def lines(text):
    """A long text as one literal, a source line for each of its lines."""
    return "\n".join(f"\t{string(line)}" for line in text.splitlines(keepends=True))


def identifier(text):
    return "".join(c if c.isalnum() else "_" for c in text)


def boolean(value):
    return "true" if value else "false"


def name_list(name, items):
    """A NULL-terminated array of texts; ("", "NULL") when there are none."""
    if not items:
        return "", "NULL"
    body = ", ".join([string(item) for item in items] + ["NULL"])
    return f"static const char *const {name}[] = {{ {body} }};\n", name


def array(ctype, name, rows):
    """(definition, name, count); no definition when there are no rows."""
    if not rows:
        return "", "NULL", 0
    body = "".join(f"\t{row},\n" for row in rows)
    return f"static const {ctype} {name}[] = {{\n{body}}};\n\n", name, len(rows)
