"""Completion script for zsh."""

from __future__ import annotations

from collections.abc import Sequence

from konnectivity.tool.cli.completion.command_words import CommandWord

_SCRIPT = """\
#compdef konnectivity proxy-server proxy-agent
# Completion of konnectivity, proxy-server and proxy-agent for zsh: source <(konnectivity completion zsh), after
# compinit; or as the file _konnectivity in a directory of $fpath.
_konnectivity() {{
    local command=${{words[1]:t}} option=${{words[CURRENT - 1]}} word
    local -a names options
    for word in ${{words[2,CURRENT - 1]}}; do
        case "$command $word" in
{commands}
        esac
    done
    if [[ $PREFIX == --*=* ]]; then
        option=${{PREFIX%%=*}}
        compset -P '*='
    fi
    case "$command $option" in
{values}
    esac
    case $command in
{words}
    esac
    (( ${{#names}} )) && _describe -t commands command names
    _describe -o -t options option options
}}
if [ "$funcstack[1]" = _konnectivity ]; then
    _konnectivity "$@"
else
    compdef _konnectivity konnectivity proxy-server proxy-agent
fi
"""


def zsh_script(programs: Sequence[CommandWord]) -> str:
    """Return the script."""
    commands, values, words = [], [], []
    for command in (each for program in programs for each in program.all()):
        name = " ".join(command.words)
        if len(command.words) > 1:
            commands.append(f'            "{name}") command="{name}" ;;')
        names = " ".join(_described(each.words[-1], each.summary) for each in command.commands)
        options = " ".join(_described(each.names[-1], each.help) for each in command.options if _long(each.names))
        words.append(f'        "{name}") names=({names}) options=({options}) ;;')
        values += _values(command, name)
    # konnectivity doctor -- proxy-agent --...
    commands += [f'            *" {each.words[0]}") command={each.words[0]} ;;' for each in programs[1:]]
    return _SCRIPT.format(commands="\n".join(commands), values="\n".join(values), words="\n".join(words))


def _long(names: Sequence[str]) -> bool:
    return any(name.startswith("--") for name in names)


def _described(name: str, text: str) -> str:
    """Return a word with its first sentence, quoted for an array of `_describe`."""
    first = text.partition(". ")[0].rstrip(".")
    quoted = f"{name}:{first}".replace("'", "'\\''")
    return f"'{quoted}'"


def _values(command: CommandWord, name: str) -> list[str]:
    lines = []
    for each in command.options:
        patterns = " | ".join(f'"{name} {word}"' for word in each.names)
        if not each.value:
            continue
        if each.optional:
            lines.append(f"        {patterns}) [[ $IPREFIX == *= ]] && compadd {' '.join(each.choices)} && return ;;")
        elif each.choices:
            lines.append(f"        {patterns}) compadd {' '.join(each.choices)} && return ;;")
        elif each.takes_path:
            lines.append(f"        {patterns}) _files && return ;;")
        else:
            lines.append(f"        {patterns}) _message '{each.value}' && return ;;")
    return lines
