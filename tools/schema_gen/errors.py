"""The kinds of errors."""
from . import c_text


def make_kind(schema):
    rows = "".join(f"\tERR_{kind['name'].upper()}, /* {kind['text']} */\n"
                   for kind in schema["kinds"])
    return (f"{c_text.note('errors')}#ifndef SCHEMA_ERR_KIND_H\n#define SCHEMA_ERR_KIND_H\n\n"
            f"enum err_kind {{\n{rows}}};\n\n#endif\n")


def make_table(schema):
    rows = "".join(
        f"\t[ERR_{kind['name'].upper()}] = {{ {c_text.string(kind['name'])}, {kind['exit']}, "
        f"{c_text.boolean(kind['retry'])} }},\n" for kind in schema["kinds"])
    return (f"{c_text.note('errors')}#include <stdbool.h>\n\nstatic const struct {{\n"
            "\tconst char *name;\n\tint exit_code;\n\tbool is_transient;\n"
            f"}} err_table[] = {{\n{rows}}};\n")
