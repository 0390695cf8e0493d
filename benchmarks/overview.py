"""Picture of a run for a first look: each side's ratio to the reference, in the rows that matter most.

Owns the choice of rows and the drawing. Does not measure.
"""

from __future__ import annotations

import html
import math

ROWS = {  # scenario -> label
    "echo 64 B, 1 connection": "latency of one quiet connection",
    "echo 64 B, 32 connections": "small messages, 32 connections",
    "connect + echo + close, CONNECT": "dials per second, HTTP CONNECT",
    "the same, gRPC, a tunnel for each": "dials per second, gRPC",
    "bulk down": "download, one connection",
    "bulk up": "upload, one connection",
    "bulk up, 50 ms round trip": "upload over 50 ms of round trip",
    "mix: requests": "requests beside bulk and keystrokes",
    "mix: keystroke, p99": "keystroke beside bulk, 99th percentile",
    "memory of 10,000 idle connections, each": "memory of an idle connection",
}
SIDES = {"native": "#2563eb", "compiled": "#0e7490", "haproxy": "#d97706"}
LEFT, WIDTH, BAR, ROW = 300, 800, 420, 18
LEAST, MOST = 1 / 4, 32  # ratios at the ends of the scale, which is logarithmic


def draw(found: dict[str, dict[str, float]]) -> str:
    """Return an SVG picture of the ratios to the reference, which are keyed by label and side; above 1 is better."""
    parts, y = [], 56
    for label, sides in found.items():
        middle = y + ROW * len(sides) / 2 + 4
        parts.append(f'<text class="h" x="{LEFT - 12}" y="{middle:.0f}" text-anchor="end">{html.escape(label)}</text>')
        for side, ratio in sides.items():
            start, end = sorted((_x(1), _x(ratio)))
            parts.append(
                f'<rect x="{start:.0f}" y="{y}" width="{max(1, end - start):.0f}" height="{ROW - 4}" '
                f'fill="{SIDES[side]}"><title>{side}</title></rect>'
            )
            parts.append(f'<text x="{max(_x(1), _x(ratio)) + 6:.0f}" y="{y + 12}">{ratio:.1f}x</text>')
            y += ROW
        y += 8
    one = _x(1)
    line = f'<line x1="{one:.0f}" x2="{one:.0f}" y1="44" y2="{y}" stroke="#64748b"/>'
    caption = f'<text x="{one:.0f}" y="38" text-anchor="middle">the reference = 1; longer to the right is better</text>'
    return "\n".join([_head(y + 12), *_legend(), caption, line, *parts, "</svg>"]) + "\n"


def _x(ratio: float) -> float:
    share = math.log(min(max(ratio, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return LEFT + share * BAR


def _head(height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        "<title>Ratio to the reference</title>"
        "<style>text{font:13px system-ui,sans-serif;fill:#1e293b}.h{font-weight:600}"
        "@media(prefers-color-scheme:dark){text{fill:#e2e8f0}}</style>"
    )


def _legend() -> list[str]:
    names = {"native": "this project, pure Python", "compiled": "this project, compiled", "haproxy": "two HAProxy hops"}
    parts = []
    for number, (side, colour) in enumerate(SIDES.items()):
        x = 40 + number * 240
        parts.append(f'<rect x="{x}" y="8" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="19">{names[side]}</text>')
    return parts
