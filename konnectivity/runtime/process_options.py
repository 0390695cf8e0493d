"""Options of every long-running program: its config file, and the time that its end may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from konnectivity.runtime.logs.log_options import LogOptions
from konnectivity.runtime.options import at_least, duration, option


@dataclass(frozen=True, init=False, repr=False, eq=False)
class ProcessOptions(LogOptions):
    """Options of the config file, base of the options of each program."""

    config: str = option(
        "",
        group="Program",
        metavar="file",
        help="YAML file that sets options, with names of flags as its keys (empty = no file).",
    )
    check_config: bool = option(False, help="Print the options in force and exit.")


def drain_timeout() -> Any:
    """Return the declaration of --drain-timeout."""
    return option(
        duration("25s"),
        group="Program",
        check=at_least(0),
        help="Maximum time that open connections may continue after the first SIGTERM (0 = unlimited).",
    )
