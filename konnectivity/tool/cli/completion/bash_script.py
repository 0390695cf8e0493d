"""Completion script for bash. Works without the bash-completion package."""

from __future__ import annotations

from collections.abc import Sequence

from konnectivity.tool.cli.completion.command_words import CommandWord

_SCRIPT = """\
# Completion of konnectivity, proxy-server and proxy-agent for bash: source <(konnectivity completion bash)
_konnectivity() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    local command=${{COMP_WORDS[0]##*/}} option=$before values= word
    COMPREPLY=()
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD - 1}}"; do
        case "$command $word" in
{commands}
        esac
    done
    if [ "$current" = = ]; then # bash splits --option=value into three words
        current= values="true false"
    elif [ "$before" = = ]; then
        option=${{COMP_WORDS[COMP_CWORD - 2]}} values="true false"
    fi
    case "$command $option" in
{values}
    esac
    if [ -z "$values" ]; then
        case $command in
{words}
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
}}
complete -F _konnectivity konnectivity proxy-server proxy-agent
"""


def bash_script(programs: Sequence[CommandWord]) -> str:
    """Return the script."""
    commands, values, words = [], [], []
    for command in (each for program in programs for each in program.all()):
        name = " ".join(command.words)
        if len(command.words) > 1:
            commands.append(f'            "{name}") command="{name}" ;;')
        names = [word for each in command.commands for word in each.words[-1:]]
        words.append(f'            "{name}") values="{" ".join([*names, *_names(command)])}" ;;')
        values += _values(command, name)
    # konnectivity doctor -- proxy-agent --...
    commands += [f'            *" {each.words[0]}") command={each.words[0]} ;;' for each in programs[1:]]
    return _SCRIPT.format(commands="\n".join(commands), values="\n".join(values), words="\n".join(words))


def _names(command: CommandWord) -> list[str]:
    return [name for each in command.options for name in each.names if name.startswith("--")]


def _values(command: CommandWord, name: str) -> list[str]:
    """Return the lines that complete values of options: choices, paths, or nothing where only people know the value."""
    lines, paths, others = [], [], []
    for each in command.options:
        patterns = [f'"{name} {word}"' for word in each.names]
        if not each.value or each.optional:
            continue
        if each.choices:
            lines.append(f'        {" | ".join(patterns)}) values="{" ".join(each.choices)}" ;;')
        elif each.takes_path:
            paths += patterns
        else:
            others += patterns
    if paths:
        lines.append(f'        {" | ".join(paths)}) mapfile -t COMPREPLY < <(compgen -f -- "$current") && return ;;')
    if others:
        lines.append(f"        {' | '.join(others)}) return ;;")
    return lines
