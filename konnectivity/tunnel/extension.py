"""What two peers of this project tell each other in metadata (docs/internals/protocol.md, "Extension"). Pure.

The header is sent by both sides; the extension is used only on a stream where both named it.
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
    """One side's offer.

    Attributes:
        window: the credit, in bytes per connection, that this side grants its peer at first.
        instance: a random word of the server's process, which tells servers with one server id apart; empty: none.

    """

    window: int
    instance: str = ""

    def header(self) -> dict[str, str]:
        more = f"; instance={self.instance}" if self.instance else ""
        return {EXTENSION: f"{VERSION}; window={self.window}{more}"}

    @classmethod
    def of(cls, metadata: Metadata) -> Extension | None:
        """The peer's offer; None if it makes none that we understand, which means the established wire."""
        values = metadata.get_all(EXTENSION)
        if len(values) != 1:
            return None
        version, *parameters = (part.strip() for part in values[0].split(";"))
        fields = dict(part.partition("=")[::2] for part in parameters)
        window = parse_decimal(fields.get("window", ""), _MAX_WINDOW)
        if version != VERSION or not window:
            return None
        return cls(window, fields.get("instance", "")[:_MAX_INSTANCE])
