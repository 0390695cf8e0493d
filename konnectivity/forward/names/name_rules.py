"""Rules on where a name is resolved, by its suffix: `svc.cluster.local=kubernetes`. Pure.

Owns the rules of one process. Resolves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from konnectivity.net.addresses import is_label

AGENT, CLUSTER_DNS, KUBERNETES, LOCAL, DIRECT = WAYS = ("agent", "cluster-dns", "kubernetes", "local", "direct")
ANY_NAME = "*"


class NameRules:
    """Rules of one process: of those that fit a name, the one with the longest suffix counts.

    Args:
        texts: rules of the form `SUFFIX=WAY`, where `*` is the suffix of every name.

    Raises:
        ValueError: a rule is malformed.

    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._ways: dict[str, str] = {}
        for text in texts:
            suffix, _, way = text.strip().rpartition("=")
            bare = suffix.strip(".").lower()
            if way not in WAYS:
                raise ValueError(f"{text!r} is not SUFFIX=WAY, where WAY is one of {', '.join(WAYS)}")
            if bare != ANY_NAME and not all(map(is_label, bare.removeprefix("*.").split("."))):
                raise ValueError(f"{text!r}: the suffix is no name such as svc.cluster.local, and not *")
            self._ways[bare if bare == ANY_NAME else bare.removeprefix("*.")] = way

    @property
    def ways(self) -> frozenset[str]:
        """Return all ways that some rule names."""
        return frozenset(self._ways.values())

    def way_of(self, name: str) -> str:
        """Return the way in which a name is resolved.

        >>> NameRules(["svc=kubernetes", "*=local"]).way_of("api.default.svc."), NameRules([]).way_of("a")
        ('kubernetes', 'agent')
        """
        bare = name.rstrip(".").lower()
        while bare:
            if bare in self._ways:
                return self._ways[bare]
            bare = bare.partition(".")[2]
        return self._ways.get(ANY_NAME, AGENT)
