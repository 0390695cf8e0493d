"""Write the pages of options in docs/reference from the declarations of the programs (--check: compare)."""

from __future__ import annotations

import sys
from pathlib import Path

from generated_files import ROOT, write_or_check
from konnectivity.forward.forward_options import ForwardOptions
from konnectivity.runtime.options import markdown
from konnectivity_agent.agent_options import AgentOptions
from konnectivity_server.server_options import ServerOptions

FOLDER = ROOT / "docs" / "reference"
HEAD = """# Options of {program}

For the operator who writes the arguments of `{program}`: every flag, its value, its default and its meaning. How
to write values, and where else an option can be set, is in [options.md](options.md).

`make docs` generates this page from `{declarations}`,
`konnectivity/runtime/shared_options.py` and `konnectivity/runtime/logs/log_options.py`.

"""
FORWARD_HEAD = """# Options of konnectivity forward

For the operator who writes the arguments of `konnectivity forward`: every flag, its value, its default and its
meaning. How to write values, and where else an option can be set, is in [options.md](options.md); what the program
does is in [forward.md](../operate/forward.md).

`make docs` generates this page from `konnectivity/forward/forward_options.py` and
`konnectivity/runtime/logs/log_options.py`.

"""
PAGES = {
    "server-options.md": (
        HEAD.format(
            program="proxy-server",
            declarations="server/konnectivity_server/server_options.py`, `server_service_options.py",
        ),
        ServerOptions,
        "proxy-server",
    ),
    "agent-options.md": (
        HEAD.format(program="proxy-agent", declarations="agent/konnectivity_agent/agent_options.py"),
        AgentOptions,
        "proxy-agent",
    ),
    "forward-options.md": (FORWARD_HEAD, ForwardOptions, "konnectivity forward"),
}


def pages() -> dict[Path, str]:
    """Return the text of each page."""
    texts = {}
    for name, (head, options, program) in PAGES.items():
        _, _, tables = markdown(options, program).partition("\n\n")  # without its own heading
        texts[FOLDER / name] = head + tables.replace("\n### ", "\n## ").replace("### ", "## ", 1) + "\n"
    return texts


if __name__ == "__main__":
    sys.exit(write_or_check(pages()))
