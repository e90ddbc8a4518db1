"""How text is written in a manual page."""


def escape(text):
    text = str(text).replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def bold(text):
    return f"\\fB{escape(text)}\\fR"


def italic(text):
    return f"\\fI{escape(text)}\\fR"


def item(head, text):
    return f".TP\n{head}\n{escape(text)}\n"


def head(title, section, summary):
    return (f'.\\" Made from schema/ by tools/schema-gen; do not edit.\n'
            f'.TH {title} {section} "" "blackstart" "blackstart"\n'
            f".nh\n.ad l\n.SH NAME\n{escape(title.lower())} \\- {escape(summary)}\n")
