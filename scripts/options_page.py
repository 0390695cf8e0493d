"""Write docs/options.md from the declarations of both programs; with --check, fail if it is not that."""

from __future__ import annotations

import sys
from pathlib import Path

from konnectivity.options import markdown
from konnectivity_agent.cli import AgentOptions
from konnectivity_server.cli import ServerOptions

PAGE = Path(__file__).parent.parent / "docs" / "options.md"


def main() -> int:
    text = "\n".join(
        [
            "# Options",
            "",
            "Generated from the declarations in `server/konnectivity_server/cli.py` and `agent/konnectivity_agent/cli.py`",
            "by `make docs`. The same text: `proxy-server --help`, `proxy-agent --help`. The options in force:",
            "`proxy-server --check-config ...`.",
            "",
            "Every option can also be set by the environment, `KONNECTIVITY_` and its name in capitals; a flag wins.",
            "Durations are written as in Go (`1h30m`, `500ms`), sizes with `Ki`, `Mi`, `Gi`.",
            "",
            markdown(ServerOptions, "proxy-server"),
            "",
            markdown(AgentOptions, "proxy-agent"),
            "",
        ]
    )
    if "--check" not in sys.argv:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        print("docs/options.md is stale: run make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
