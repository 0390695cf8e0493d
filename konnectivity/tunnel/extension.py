"""Offer of the extension in the metadata of a call (docs/internals/protocol.md, "Extension"). Pure.

Both sides send the header; the extension is spoken only on a stream where both offered it.
"""

from __future__ import annotations

from dataclasses import dataclass

from konnectivity.grpc.metadata import Metadata
from konnectivity.untrusted.numbers import parse_decimal

EXTENSION = "konnectivity-extension"  # value: version; parameters
VERSION = "1"
_MAX_WINDOW = 1 << 30
_MAX_INSTANCE = 64  # characters


@dataclass(frozen=True, slots=True)
class Extension:
    """Offer of one side.

    Attributes:
        window: credit, in bytes per connection, that this side grants its peer at first.
        instance: random word of the server's process, which tells servers with one server id apart; empty: none.

    """

    window: int
    instance: str = ""

    def header(self) -> dict[str, str]:
        """Return the header field that makes this offer."""
        more = f"; instance={self.instance}" if self.instance else ""
        return {EXTENSION: f"{VERSION}; window={self.window}{more}"}

    def answer(self, metadata: Metadata) -> tuple[Extension | None, dict[str, str]]:
        """Return the offer in the metadata of a call, and the header field that answers with this offer.

        Both are empty if the caller makes no offer: then the reference protocol is spoken.
        """
        offer = Extension.of(metadata)
        return offer, {} if offer is None else self.header()

    @classmethod
    def of(cls, metadata: Metadata) -> Extension | None:
        """Return the peer's offer; None if there is none of a known version: the reference protocol is spoken."""
        values = metadata.get_all(EXTENSION)
        if len(values) != 1:
            return None
        version, *parameters = (part.strip() for part in values[0].split(";"))
        fields = dict(part.partition("=")[::2] for part in parameters)
        window = parse_decimal(fields.get("window", ""), _MAX_WINDOW)
        if version != VERSION or not window:
            return None
        return cls(window, fields.get("instance", "")[:_MAX_INSTANCE])
