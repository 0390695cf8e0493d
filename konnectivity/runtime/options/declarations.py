"""Declarations: what makes a field of a dataclass an option, and the options a class has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from konnectivity.runtime.options.value_checks import Check
from konnectivity.runtime.options.value_kinds import KINDS, Kind

T = TypeVar("T")

ENVIRONMENT_PREFIX = "KONNECTIVITY_"


@dataclass(frozen=True, slots=True)
class Option:
    """One declaration, as `option()` made it. `field` and `flag` are filled in by `declared`."""

    kind: Kind[Any]
    default: Any
    help: str
    env: str | None
    hidden: bool
    deprecated: str | None
    metavar: str | None
    check: Check | None
    aliases: tuple[str, ...]
    deprecated_aliases: tuple[str, ...]
    group: str | None
    instead: str | None
    flag: str = ""
    field: str = ""

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that set it, the first found wins."""
        own = ENVIRONMENT_PREFIX + self.flag.replace("-", "_").upper()
        return (self.env, own) if self.env else (own,)

    @property
    def long_names(self) -> tuple[str, ...]:
        """The names that stand behind two dashes, its own first."""
        return (self.flag, *(alias for alias in self.aliases if len(alias) > 1), *self.deprecated_aliases)


def option(
    default: T,
    *,
    help: str = "",
    kind: Kind[Any] | None = None,
    env: str | None = None,
    name: str | None = None,
    hidden: bool = False,
    deprecated: str | None = None,
    metavar: str | None = None,
    check: Check | None = None,
    aliases: tuple[str, ...] = (),
    deprecated_aliases: tuple[str, ...] = (),
    group: str | None = None,
    instead: str | None = None,
) -> T:
    """A field of an `Options` class.

    Args:
        default: decides the kind unless `kind` does: a str, int, float, bool, `duration("1h")`, `size("64Ki")`, or
            a tuple of str for a list.
        help: one or two sentences for `--help` and the documentation.
        kind: how the text is read, where the default cannot tell.
        env: another environment variable that sets it, beside KONNECTIVITY_<NAME>.
        name: the flag, if it is not the field's name with dashes.
        hidden: not shown by `--help`.
        deprecated: what to do instead; printed when the option is used, and not shown by `--help`.
        metavar: the word for the value in `--help`, if it is not the kind's.
        check: says what is wrong with a value, or None.
        aliases: other names; one letter is a short flag.
        deprecated_aliases: other names that are not shown, and said to be old when they are used.
        instead: it is accepted and does nothing; what does its work here.
        group: opens a group of `--help`, for this option and those after it.

    """
    chosen = kind or next(found for type_, found in KINDS if isinstance(default, type_))
    # There and back: the default is then a plain value, and known to be one that a person can write.
    plain = chosen.read(chosen.write(default))
    made = Option(
        chosen,
        plain,
        help,
        env,
        hidden,
        deprecated,
        metavar,
        check,
        aliases,
        deprecated_aliases,
        group,
        instead,
        flag=name or "",
    )
    result: T = field(default=plain, metadata={"option": made})
    return result


def redefault(base: type[Options], name: str, default: T) -> T:
    """A field that is an option of a base class with another default."""
    made: Option = next(each for each in fields(base) if each.name == name).metadata["option"]
    plain = made.kind.read(made.kind.write(default))
    result: T = field(default=plain, metadata={"option": replace(made, default=plain)})
    return result


@dataclass(frozen=True)
class Options:
    """Base of a program's options. The derived class is a frozen dataclass too.

    `sources` says of each field that was set what set it: `flag --mode`, `environment PROXY_SERVER_ID`, `file, line 3`.
    """

    sources: Mapping[str, str] = field(default_factory=dict, kw_only=True, repr=False, compare=False)
    words: tuple[str, ...] = field(default=(), kw_only=True, repr=False, compare=False)  # arguments that are no flags

    def given(self, name: str) -> bool:
        """Whether the option of this field was set by whatever means, even to its default."""
        getattr(self, name)  # a misspelt name is an error, not "no"
        return name in self.sources

    def doubts(self) -> list[str]:
        """Return what is probably not meant, but keeps no program from starting. For derived classes to override."""
        return []

    def problems(self) -> list[str]:
        """What is wrong with the options taken together. For derived classes to override."""
        return []


def declared(cls: type[Options]) -> list[Option]:
    """The options of a class in the order of declaration, its own before those it inherits."""

    def distance(name: str) -> int:
        return max(i for i, owner in enumerate(cls.__mro__) if name in getattr(owner, "__dataclass_fields__", ()))

    options: list[Option] = []
    group = None
    for each in sorted((f for f in fields(cls) if "option" in f.metadata), key=lambda f: distance(f.name)):
        made: Option = each.metadata["option"]
        group = made.group or group
        options.append(replace(made, field=each.name, flag=made.flag or each.name.replace("_", "-"), group=group))
    return options
