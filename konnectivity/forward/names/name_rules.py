"""Rules on where a name is resolved, by its suffix: `svc=kubernetes`, or in several ways in turn. Pure.

Owns the rules of one process. Resolves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from konnectivity.net.addresses import is_label

AGENT, CLUSTER_DNS, KUBERNETES, LOCAL, DIRECT = WAYS = ("agent", "cluster-dns", "kubernetes", "local", "direct")
ANY_NAME = "*"
_LAST = (AGENT, DIRECT)  # ways that find every name


class NameRules:
    """Rules of one process: of those that fit a name, the one with the longest suffix counts.

    Args:
        texts: rules `SUFFIX=WAY`, or `SUFFIX=WAY+WAY` for ways in turn, where `*` is the suffix of every name.

    Raises:
        ValueError: a rule is malformed.

    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._ways: dict[str, tuple[str, ...]] = {}
        for text in texts:
            suffix, _, joined = text.strip().rpartition("=")
            ways = tuple(joined.split("+"))
            bare = suffix.strip(".").lower()
            if not set(ways) <= set(WAYS):
                raise ValueError(f"{text!r} is not SUFFIX=WAY, where WAY is one of {', '.join(WAYS)}")
            if set(ways[:-1]) & set(_LAST):
                raise ValueError(f"{text!r}: agent and direct find every name, so no way can follow them")
            if bare != ANY_NAME and not all(map(is_label, bare.removeprefix("*.").split("."))):
                raise ValueError(f"{text!r}: the suffix is no name such as svc.cluster.local, and not *")
            self._ways[bare if bare == ANY_NAME else bare.removeprefix("*.")] = ways

    @property
    def ways(self) -> frozenset[str]:
        """Return all ways that some rule names."""
        return frozenset(way for ways in self._ways.values() for way in ways)

    def ways_of(self, name: str) -> tuple[str, ...]:
        """Return the ways in which a name is resolved, in turn until one finds it.

        >>> NameRules(["svc=kubernetes+local"]).ways_of("api.default.svc."), NameRules([]).ways_of("a")
        (('kubernetes', 'local'), ('agent',))
        """
        bare = name.rstrip(".").lower()
        while bare:
            if bare in self._ways:
                return self._ways[bare]
            bare = bare.partition(".")[2]
        return self._ways.get(ANY_NAME, (AGENT,))
