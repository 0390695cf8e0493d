"""Arguments of a program from flags and a person's additions, sorted as Kamaji sorts them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from konnectivity.tool.manifests.object_names import ManifestError
from konnectivity.untrusted.numbers import MAX_PORT, parse_decimal

Flags = dict[str, str | None]  # "--mode" -> "grpc", "--kubeconfig" -> "" (`--kubeconfig=`), "--verbose" -> None (alone)


def parsed(texts: Iterable[str]) -> Flags:
    """Return additional arguments by flag; the last value of a flag wins.

    Raises:
        ManifestError: an argument is not a flag; sorting would separate it from its flag.

    """
    flags: Flags = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name.startswith("-"):
            raise ManifestError(f"{text!r} is not a flag: write --flag=value as one argument")
        flags[name] = value if equals else None
    return flags


def parsed_as_kamaji(texts: Iterable[str]) -> Flags:
    """Return additional arguments by flag as Kamaji reads them: without an empty value.

    Raises:
        ManifestError: an argument is not a flag.

    """
    return {name: value or None for name, value in parsed(texts).items()}


def rendered(flags: Mapping[str, str | None]) -> list[str]:
    return sorted(name if value is None else f"{name}={value}" for name, value in flags.items())


def port_of(flags: Mapping[str, str | None], flag: str) -> int:
    """Return the port in a flag's value.

    Raises:
        ManifestError: the value is not a number.

    """
    text = flags[flag] or ""
    port = parse_decimal(text, MAX_PORT)
    if port is None:
        raise ManifestError(f"{flag}={text}: not a port")
    return port
