"""The tables of the config parser, and what the other makers ask about keys."""
from . import c_text

# The sections that map items are bound to by name.
EXPORTED = ("root", "source", "job", "blackout", "channel")

LIMITS = {  # type: (min, max) when the key does not say
    "level": (0, 4),
    "size": (1, 0),
    "duration": (1000000, 0),
    "keep": (1000000, 0),
}


def limits(key):
    low, high = LIMITS.get(key["type"], (0, 0))
    return key.get("min_us", key.get("min", low)), key.get("max", high)


def sections_inner_first(schema):
    """Each section after those it refers to."""
    done, order = set(), []

    def visit(name):
        if name in done:
            return
        done.add(name)
        for key in schema["sections"][name]["keys"]:
            if "section" in key:
                visit(key["section"])
        order.append(name)

    visit("root")
    assert done == set(schema["sections"]), "a section that no key refers to"
    return order


def key_row(section_name, section, key, lists):
    low, high = limits(key)
    fields = [f".name = {c_text.string(key['name'])}", f".type = KEY_{key['type'].upper()}"]

    if "field" in key:
        fields.append(f".offset = offsetof(struct {section['struct']}, {key['field']})")
    if key.get("required"):
        fields.append(".is_required = true")
    for name, field in (("default", "fallback"), ("zero", "zero"), ("alias", "alias")):
        if name in key:
            fields.append(f".{field} = {c_text.string(key[name])}")
    if low:
        fields.append(f".min = {low}")
    if high:
        fields.append(f".max = {high}")
    for field in ("choices", "later"):
        definition, name = c_text.name_list(f"{section_name}_{key['name']}_{field}", key.get(field))
        lists.append(definition)
        if definition:
            fields.append(f".{field} = {name}")
    if "section" in key:
        prefix = "config_" if key["section"] in EXPORTED else ""
        fields.append(f".section = &{prefix}{key['section']}_section")
    if key["type"] == "map":
        fields.append(f".bind_item = bind_{key['section']}")
    return "{ " + ", ".join(fields) + " }"


def make_table(schema):
    out = [c_text.note("config"), "\n"]
    for name in sections_inner_first(schema):
        section, lists = schema["sections"][name], []
        rows = [key_row(name, section, key, lists) for key in section["keys"]]
        out += lists
        out.append(c_text.array("struct key", f"{name}_keys", rows)[0])
        is_exported = name in EXPORTED
        out.append(f"{'' if is_exported else 'static '}const struct section "
                   f"{'config_' if is_exported else ''}{name}_section = {{ "
                   f"{c_text.string(name)}, {name}_keys, {len(rows)} }};\n\n")
    return "".join(out)
