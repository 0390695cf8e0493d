"""Declarations of options: fields of a dataclass made by `option`, and the list of all options of a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, TypeVar

from konnectivity.runtime.options.value_checks import Check
from konnectivity.runtime.options.value_kinds import KINDS, Kind

T = TypeVar("T")

ENVIRONMENT_PREFIX = "KONNECTIVITY_"
_declared: dict[type[Options], tuple[Option, ...]] = {}  # options by class, as far as they were asked for


@dataclass(frozen=True, slots=True)
class Option:
    """Declaration of one option, made by `option`. `declared` fills in `field` and `flag`."""

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
        """Names of the environment variables that set the option; the first that is set wins."""
        own = ENVIRONMENT_PREFIX + self.flag.replace("-", "_").upper()
        return (self.env, own) if self.env else (own,)

    @property
    def long_names(self) -> tuple[str, ...]:
        """Names that are written with two dashes, the option's own first."""
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
    """Return a field of an `Options` class that is an option.

    Args:
        default: decides the kind unless `kind` is given: a str, int, float, bool, `duration("1h")`, `size("64Ki")`, or
            a tuple of str for a list.
        help: one or two sentences for `--help` and the documentation.
        kind: reader and writer of the value, where the default does not decide.
        env: another environment variable that sets the option, beside KONNECTIVITY_<NAME>.
        name: the flag's name, if it differs from the field's name with dashes.
        hidden: whether `--help` leaves the option out.
        deprecated: advice that is printed when the option is used; `--help` leaves the option out.
        metavar: the word for the value in `--help`, if it differs from the kind's name.
        check: returns the error text of a value, or None.
        aliases: other names; a name of one letter is a short flag.
        deprecated_aliases: other names that `--help` leaves out; using one prints a warning.
        instead: text that says what replaces the option, which is accepted without effect.
        group: heading in `--help` of this option and of those declared after it.

    """
    chosen = kind or next(found for type_, found in KINDS if isinstance(default, type_))
    # Written and read again, the default is a plain value that a person can write.
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


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Options:
    """Options of a program. A derived class is a frozen dataclass without generated methods, as this one is.

    The constructor is written once and by hand: a generated one for a hundred options takes 1 MiB to compile.

    Attributes:
        sources: the source of each field that was set: `flag --mode`, `environment PROXY_SERVER_ID`, `file, line 3`.
        words: arguments that are neither flags nor their values.

    """

    sources: Mapping[str, str] = field(default_factory=dict, kw_only=True, repr=False, compare=False)
    words: tuple[str, ...] = field(default=(), kw_only=True, repr=False, compare=False)

    def __init__(self, **values: Any) -> None:
        for each in fields(self):
            made = each.default_factory() if each.default_factory is not MISSING else each.default
            object.__setattr__(self, each.name, values.pop(each.name, made))
        if values:
            raise TypeError(f"{type(self).__name__} has no option {', '.join(values)}")

    def given(self, name: str) -> bool:
        """Return whether any source set the option of this field, even to its default."""
        getattr(self, name)  # a misspelt name raises AttributeError
        return name in self.sources

    def doubts(self) -> list[str]:
        """Return warnings about values that are probably mistakes. Derived classes override this."""
        return []

    def problems(self) -> list[str]:
        """Return the errors of combinations of options. Derived classes override this."""
        return []


def declared(cls: type[Options]) -> list[Option]:
    """Return the options of a class in the order of declaration, its own before inherited ones."""
    if cls not in _declared:  # kept: a server of many tenants asks for each tenant
        _declared[cls] = tuple(_find(cls))
    return list(_declared[cls])


def _find(cls: type[Options]) -> list[Option]:
    """Return the options of a class that was not asked for before."""

    def distance(name: str) -> int:
        return max(i for i, owner in enumerate(cls.__mro__) if name in getattr(owner, "__dataclass_fields__", ()))

    options: list[Option] = []
    group = None
    for each in sorted((f for f in fields(cls) if "option" in f.metadata), key=lambda f: distance(f.name)):
        made: Option = each.metadata["option"]
        group = made.group or group
        options.append(replace(made, field=each.name, flag=made.flag or each.name.replace("_", "-"), group=group))
    return options
