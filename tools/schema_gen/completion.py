"""Completion for bash and zsh. Names of jobs, sources and backups are not completed: that would
need to open the store at every key."""
from . import commands

VALUE = {"file": "file", "dir": "dir"}


def options_of(schema, command):
    return schema["program"]["options"] + command.get("options", [])


def bash_words(schema):
    cases = []
    for command in commands.resolve(schema):
        names = " ".join("--" + option["name"] for option in options_of(schema, command))
        cases.append(f"\t'{command['name']}') words='{names}' ;;\n")
    return "".join(cases)


def bash_values(schema):
    """case branches by "verb --option", or "* --option" for all verbs."""
    cases = []

    def add(pattern, option):
        if option["type"] == "choice":
            cases.append(f"\t{pattern}) COMPREPLY=($(compgen -W '{' '.join(option['choices'])}' "
                         "-- \"$current\")) ;;\n")
        elif option["type"] in VALUE:
            flag = "-f" if option["type"] == "file" else "-d"
            cases.append(f"\t{pattern}) COMPREPLY=($(compgen {flag} -- \"$current\")) ;;\n")
        elif option["type"] != "flag":
            cases.append(f"\t{pattern}) COMPREPLY=() ;;\n")

    for option in schema["program"]["options"]:
        add(f"*' --{option['name']}'" + (f"|*' -{option['short']}'" if "short" in option else ""),
            option)
    for command in commands.resolve(schema):
        for option in command.get("options", []):
            add(f"'{command['name']} --{option['name']}'", option)
    return "".join(cases)


def bash_seconds(schema):
    cases = []
    for group in commands.groups_of(schema):
        seconds = " ".join(command["name"].split()[1] for command in schema["commands"]
                           if command["name"].startswith(group + " "))
        cases.append(f"\t'{group}') words='{seconds}' ;;\n")
    return "".join(cases)


def verbs(schema):
    return list(dict.fromkeys(command["name"].split()[0] for command in schema["commands"]))


def options_with_value(schema):
    found = []
    for option in schema["program"]["options"]:
        if option["type"] != "flag":
            found.append("--" + option["name"])
            if "short" in option:
                found.append("-" + option["short"])
    for command in commands.resolve(schema):
        found += ["--" + option["name"] for option in command.get("options", [])
                  if option["type"] != "flag"]
    return list(dict.fromkeys(found))


def make_bash(schema):
    return f"""\
# bash completion for blackstart; made from schema/commands.yaml by tools/schema-gen.
_blackstart()
{{
	local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
	local verb='' words='' i word is_value=''

	COMPREPLY=()
	# The one or two words that name the command, past options and their values.
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${{COMP_WORDS[i]}}
		if [ -n "$is_value" ]; then
			is_value=''
			continue
		fi
		case $word in
		{'|'.join(options_with_value(schema))}) is_value=1 ;;
		-*) ;;
		*)
			case $verb in
			'') verb=$word ;;
			{'|'.join(commands.groups_of(schema))}) verb="$verb $word" ;;
			esac
			;;
		esac
	done
	if [ -n "$is_value" ]; then
		case "$verb $previous" in
{bash_values(schema)}\tesac
		return
	fi
	case $verb in
	'') words='{' '.join(verbs(schema))}' ;;
{bash_seconds(schema)}{bash_words(schema)}\tesac
	case $current in
	-*) ;;
	*) [[ $verb == '' || ' {' '.join(commands.groups_of(schema))} ' == *" $verb "* ]] || words='' ;;
	esac
	if [[ $verb == '' && $current == -* ]]; then
		words='{' '.join('--' + option['name'] for option in schema['program']['options'])}'
	fi
	COMPREPLY=($(compgen -W "$words" -- "$current"))
	[ -n "$words" ] || COMPREPLY=($(compgen -f -- "$current"))
}}
complete -o filenames -F _blackstart blackstart
"""


def zsh_quote(text):
    return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def zsh_option(option):
    name = "--" + option["name"]
    doc = zsh_quote(option["doc"])
    value = ""
    if option["type"] == "choice":
        value = f":{option['name']}:({' '.join(option['choices'])})"
    elif option["type"] == "dir":
        value = ":folder:_files -/"
    elif option["type"] == "file":
        value = ":file:_files"
    elif option["type"] != "flag":
        value = f":{zsh_quote(option.get('placeholder', 'value'))}: "
    equals = "=" if value else ""
    many = "*" if option.get("many") else ""
    rows = [f"'{many}{name}{equals}[{doc}]{value}'"]
    if "short" in option:
        rows.append(f"'-{option['short']}[{doc}]{value}'")
    return rows


def zsh_rows(options, indent):
    rows = [row for option in options for row in zsh_option(option)]
    return " \\\n".join("\t" * indent + row for row in rows)


def zsh_cases(schema):
    cases = []
    for command in commands.resolve(schema):
        rows = zsh_rows(options_of(schema, command), 3)
        cases.append(f"\t'{command['name']}')\n\t\t_arguments -s \\\n{rows} \\\n"
                     "\t\t\t'*:name:_files'\n\t\t;;\n")
    return "".join(cases)


def zsh_describe(rows):
    return "".join(f"\t\t'{zsh_quote(name)}:{zsh_quote(doc)}'\n" for name, doc in rows)


def zsh_groups(schema):
    cases = []
    for group in commands.groups_of(schema):
        rows = [(command["name"].split()[1], command["summary"]) for command in schema["commands"]
                if command["name"].startswith(group + " ")]
        cases.append(f"\t'{group}')\n\t\tlocal -a seconds=(\n{zsh_describe(rows)}\t\t)\n"
                     "\t\t_describe command seconds\n\t\t;;\n")
    return "".join(cases)


def make_zsh(schema):
    first = {}
    for command in schema["commands"]:
        first.setdefault(command["name"].split()[0], command["summary"])
    return f"""\
#compdef blackstart
# zsh completion for blackstart; made from schema/commands.yaml by tools/schema-gen.
_blackstart()
{{
	local verb='' word i is_value=''
	local -a verbs=(
{zsh_describe(first.items())}	)

	for ((i = 2; i < CURRENT; i++)); do
		word=$words[i]
		if [[ -n $is_value ]]; then
			is_value=''
			continue
		fi
		case $word in
		({'|'.join(options_with_value(schema))}) is_value=1 ;;
		(-*) ;;
		(*)
			case $verb in
			('') verb=$word ;;
			({'|'.join(commands.groups_of(schema))}) verb="$verb $word" ;;
			esac
			;;
		esac
	done
	case $verb in
	'')
		if [[ $words[CURRENT] == -* ]]; then
			_arguments -s \\
{zsh_rows(schema['program']['options'], 4)}
		else
			_describe command verbs
		fi
		;;
{zsh_groups(schema)}{zsh_cases(schema)}\tesac
}}
_blackstart "$@"
"""
