"""The pure modules stay pure: no event loop, socket, TLS, clock, thread or log in them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PURE = [
    *sorted((ROOT / "konnectivity" / "http2").glob("*.py")),
    *sorted((ROOT / "konnectivity" / "wire").glob("*.py")),
    *sorted((ROOT / "konnectivity" / "manifests").glob("*.py")),
    *(
        ROOT / "konnectivity" / "grpc" / name
        for name in ("framing.py", "header_budget.py", "metadata.py", "round_trip.py", "status.py")
    ),
    *(
        ROOT / "konnectivity" / name
        for name in (
            "agent_id.py",
            "bounded_dict.py",
            "bridge.py",
            "capabilities.py",
            "destination.py",
            "endpoint.py",
            "errors.py",
            "foreign_text.py",
            "ledger.py",
            "line.py",
            "link.py",
            "numbers.py",
            "http_heads.py",
            "http_connections.py",
            "scheduler.py",
            "source.py",
            "transitions.py",
            "window.py",
        )
    ),
    *(
        ROOT / "server" / "konnectivity_server" / name
        for name in (
            "audit.py",
            "connect_head.py",
            "declines.py",
            "identifiers.py",
            "identity.py",
            "merging.py",
            "recent.py",
            "registry.py",
            "review_queue.py",
            "strategies.py",
            "token_claims.py",
        )
    ),
    *(ROOT / "agent" / "konnectivity_agent" / name for name in ("name_servers.py", "policy.py")),
]
IMPURE = {"asyncio", "socket", "ssl", "time", "logging", "threading", "select", "uvloop", "grpc"}


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_pure_module_imports_nothing_that_acts(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.partition(".")[0])
    assert not imported & IMPURE
