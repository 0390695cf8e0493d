"""Check of our programs' arguments inside Kubernetes objects, by the programs' own declarations of their options."""

from __future__ import annotations

from collections.abc import Iterator

from konnectivity.runtime.options import HelpRequested, read
from konnectivity.runtime.options.value_checks import existing_directory, existing_file
from konnectivity.tool.manifests.object_names import ManifestError, Object

_SERVER, _AGENT = ["/proxy-server"], ["/proxy-agent"]


def check(made: object) -> None:
    """Check the arguments of every container that runs one of our programs. Files in the arguments are not opened.

    Files are not looked for: they are in the cluster.

    Raises:
        ManifestError: the program would refuse its arguments; the text is the program's error.

    """
    for container in _containers(made):
        problems = _problems(container)
        if problems:
            raise ManifestError(f"{container['command'][0][1:]} would not start: {'; '.join(problems)}")


def _problems(container: Object) -> list[str]:
    # Not for every command's start: the declarations of a program load much of it.
    from konnectivity_agent.agent_options import AgentOptions
    from konnectivity_server.server_options import ServerOptions

    arguments = container.get("args") or []
    options = ServerOptions if container["command"] == _SERVER else AgentOptions
    try:
        return read(options, arguments, {}, (existing_file, existing_directory))[1]
    except HelpRequested:
        return ["--help among its arguments"]


def _containers(value: object) -> Iterator[Object]:
    """Yield every container of our programs in a tree of objects."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if found.get("command") in (_SERVER, _AGENT):
                yield found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
