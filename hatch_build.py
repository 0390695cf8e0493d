"""Build hook of a compiled wheel: mypyc compiles the hot modules to C extensions.

hatchling runs the hook only if HATCH_BUILD_HOOK_ENABLE_CUSTOM is true. Every other wheel is pure Python, and needs
neither this file nor a C compiler. A compiled wheel has every module as source, too, for tracebacks. The same file, run
as a program, is the step that compiles: `hatch_build.py STAGE`, with the packages in the directory STAGE.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILED = (  # modules, and packages with all their modules
    "konnectivity/client/client_dial_tunnel.py",
    "konnectivity/grpc",
    "konnectivity/http1/message_heads.py",
    "konnectivity/http2",
    "konnectivity/metrics/histograms.py",
    "konnectivity/metrics/tunnel_stats.py",
    "konnectivity/net",
    "konnectivity/runtime/task_guard.py",
    "konnectivity/tunnel",
    "konnectivity/untrusted",
    "konnectivity/wire",
    "konnectivity_agent/dial_queue.py",
    "konnectivity_agent/dialer.py",
    "konnectivity_agent/resolver.py",
    "konnectivity_agent/server_connection.py",
    "konnectivity_agent/server_pool.py",
    "konnectivity_server/agents/agent_identifiers.py",
    "konnectivity_server/agents/agent_introduction.py",
    "konnectivity_server/agents/agent_load.py",
    "konnectivity_server/agents/agent_tunnel.py",
    "konnectivity_server/dial_answers.py",
    "konnectivity_server/frontends/connect_frontend.py",
    "konnectivity_server/frontends/connect_messages.py",
    "konnectivity_server/frontends/forward_relay.py",
    "konnectivity_server/frontends/grpc_frontend.py",
    "konnectivity_server/peers/peer_service.py",
    "konnectivity_server/peers/peer_tunnel.py",
    "konnectivity_server/pending_dial.py",
    "konnectivity_server/pending_dials.py",
    "konnectivity_server/recent_declines.py",
    "konnectivity_server/registry.py",
    "konnectivity_server/strategies.py",
)
INTERPRETED = {  # modules among these that stay Python
    "konnectivity/grpc/grpcio_stream.py",  # grpcio is an option, and costs more than its wrapper
    "konnectivity/grpc/grpcio_transport.py",
    "konnectivity/grpc/implementations.py",  # mypyc 2.4 mistakes a function that a property returns
    "konnectivity/grpc/message_stream.py",  # tests and grpcio_stream derive from its classes
    "konnectivity/grpc/transport.py",
    "konnectivity/net/error_texts.py",  # `SSLError.reason` may be None, unlike the type that mypyc trusts
    "konnectivity/net/happy_eyeballs.py",  # a class below OSError
    "konnectivity/net/read_buffer.py",  # a class below threading.local
    "konnectivity/net/source_limit.py",  # a class below socket.socket
    "konnectivity/untrusted/file_content.py",  # a class below OSError
}
# Types are those of the sources and of the standard library alone: the code does not depend on what is installed.
FLAGS = ["--config-file=", "--no-site-packages", "--ignore-missing-imports", "--follow-imports=silent"]


class CompiledModules(BuildHookInterface):  # type: ignore[type-arg, misc]  # hatchling is there in builds only
    """Build hook that hatchling calls; owns the directory in which the modules are compiled."""

    _stage: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the modules, add the extensions to the wheel, and tag the wheel for this Python and machine."""
        if version == "editable":
            return
        self._stage = stage = Path(tempfile.mkdtemp(prefix="konnectivity-"))
        for package in self.build_config.packages:
            shutil.copytree(Path(self.root, package), stage / Path(package).name)
        subprocess.run([sys.executable, __file__, stage], check=True)  # noqa: S603  # this file
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for extension in stage.rglob("*.so"):
            build_data["force_include"][str(extension)] = str(extension.relative_to(stage))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the directory."""
        if self._stage is not None:
            shutil.rmtree(self._stage)


def compile_modules(stage: Path) -> None:
    """Compile the modules of the packages in `stage`; the extensions stand beside the sources."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    os.chdir(stage)
    named = {file for name in COMPILED for file in _modules(Path(name))} - INTERPRETED
    # One C file for each module, at the lowest level of optimization: calls into Python cost more than it could save.
    extensions = mypycify(
        [*sorted(named), *FLAGS],
        opt_level="1",
        debug_level="0",
        multi_file=True,
        group_name="konnectivity",
        target_dir="build",
    )
    for file in Path("build").rglob("*.c"):
        file.write_text(_without_weak_references(file.read_text()))

    class SideBySide(build_ext):  # type: ignore[misc]  # setuptools is there in builds only
        """Build step that runs one C compiler for each processor; setuptools runs one."""

        def build_extensions(self) -> None:
            """Compile, then link."""
            one_by_one = self.compiler.compile
            with ThreadPoolExecutor(os.cpu_count()) as pool:

                def compile_files(sources: list[str], *rest: Any, **options: Any) -> list[str]:
                    made = pool.map(lambda source: one_by_one([source], *rest, **options), sources)
                    return [name for names in made for name in names]

                self.compiler.compile = compile_files
                super().build_extensions()

    build = SideBySide(Distribution({"name": "konnectivity", "ext_modules": extensions}))
    build.inplace = True
    build.ensure_finalized()
    build.run()
    shutil.rmtree("build")


def _modules(path: Path) -> list[str]:
    return [str(path)] if path.is_file() else [str(file) for file in path.rglob("*.py")]


def _without_weak_references(source: str) -> str:
    """Return the C source of a module without weak references to its objects.

    On Python 3.11, mypyc offers weak references to objects that have a `__dict__`, but does not clear the references
    when the object ends: the garbage collector then follows a pointer to freed memory. Without the slot, `weakref.ref`
    raises a TypeError.
    """
    source = re.sub(r"^\s*\.tp_weaklistoffset = .*\n", "", source, flags=re.MULTILINE)
    return re.sub(r'^\s*\{"__weakref__", .*\n', "", source, flags=re.MULTILINE)


if __name__ == "__main__":
    compile_modules(Path(sys.argv[1]))
