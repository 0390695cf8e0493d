"""The file that `--config` names: YAML, a mapping with the names of the flags as its keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from konnectivity.options.command_line import Given
from konnectivity.options.declarations import Option


def read(path: str, options: Iterable[Option]) -> tuple[dict[str, list[Given]], list[str]]:
    """What a file sets, by field, as if it had been written as flags; and what is wrong with it."""
    import yaml  # only who has such a file pays for it

    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except OSError as error:
        return {}, [f'cannot read config file "{path}": {error.strerror}']
    except UnicodeDecodeError:
        return {}, [f'config file "{path}" is not UTF-8 text']
    except yaml.YAMLError as error:
        return {}, [f'config file "{path}" is not YAML: {" ".join(str(error).split())}']
    if content is None:
        return {}, []
    if not isinstance(content, dict):
        return {}, [f'config file "{path}" must hold `name: value` lines']
    known = {name: each for each in options for name in (each.flag, *(alias for alias in each.aliases))}
    found: dict[str, list[Given]] = {}
    problems = []
    for key, value in content.items():
        option = known.get(str(key).replace("_", "-"))
        if option is None:
            problems.append(f'unknown key "{key}" in config file "{path}"')
            continue
        texts = _texts(value, option)
        if texts is None:
            problems.append(f'key "{key}" in config file "{path}": {_wanted(option)}')
        else:
            found[option.field] = [Given(text, f'"{key}" in config file "{path}"', "file") for text in texts]
    return found, problems


def _texts(value: Any, option: Option) -> list[str] | None:
    if isinstance(value, list) and option.kind.appends:
        return [option.kind.write((str(item),)) for item in value] or ["[]"]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if value is None:
        return [""]
    return [str(value)] if isinstance(value, str | int | float) else None


def _wanted(option: Option) -> str:
    return "wants a list" if option.kind.appends else f"wants one value ({option.metavar or option.kind.name})"
