"""Reader of `traceparent`, by which a client names the trace and the span that caused its dial. Pure.

Source: W3C Trace Context, section 3.2. Reads version 00 only; a text of any other form counts as absent.
"""

from __future__ import annotations

import re
from typing import NamedTuple

HEADER = "traceparent"
_PARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1


class TraceParent(NamedTuple):
    """Span of a client that is the parent of a dial's span."""

    trace_id: int
    span_id: int
    sampled: bool  # whether the client records the trace


def parse_trace_parent(text: str) -> TraceParent | None:
    """Return the parent that a header names, or None if the header is malformed."""
    found = _PARENT.fullmatch(text)
    if found is None:
        return None
    return TraceParent(int(found[1], 16), int(found[2], 16), bool(int(found[3], 16) & _SAMPLED))
