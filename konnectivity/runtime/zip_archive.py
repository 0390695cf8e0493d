"""Starts the programs from one zip file: its compiled modules are loaded without a file that anybody could find.

`zipimport` reads Python modules out of the archive; what is compiled, the dynamic linker wants as a file. It gets one
in memory that has no name, or, where the kernel has none, one that is deleted as soon as it is loaded. So nothing is
unpacked or left behind, a read-only root works, and there is no cache to tamper with. Knows nothing of the programs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from types import ModuleType
from zipimport import zipimporter

_MFD_NOEXEC_SEAL = (
    8  # never to be started as a program: hosts may demand it (vm.memfd_noexec); unknown before Linux 6.3
)

Place = Callable[[bytes], AbstractContextManager[str]]


def main(name: str, archive: str, compiled: Sequence[str], python: tuple[int, int], machine: str) -> None:
    """Become the program that `sys.argv` names. Called by the archive's `__main__`, with what was noted at its build.

    Args:
        name: the archive's path, for messages.
        archive: a path that leads to it whatever becomes of that one.
        compiled: the compiled modules in it.
        python: the version of Python they are for.
        machine: and the machine.

    """
    if sys.version_info[:2] != python or os.uname().machine != machine:
        sys.exit(
            f"Error: {name} is for Python {python[0]}.{python[1]} on {machine}; {sys.executable} is "
            f"{sys.version_info[0]}.{sys.version_info[1]} on {os.uname().machine}: start it with another Python, or "
            "build it with this one: make zipapp PYTHON=..."
        )
    sys.meta_path.insert(0, ExtensionModules(archive, compiled))
    from konnectivity.runtime import launcher

    launcher.main()


@contextmanager
def in_memory(data: bytes) -> Iterator[str]:
    """A file in memory. It stays open: glibc takes libraries for the same if they have the same path."""
    try:
        file = os.memfd_create("konnectivity", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    except OSError:
        file = os.memfd_create("konnectivity", os.MFD_CLOEXEC)
    with open(file, "wb", closefd=False) as writer:
        writer.write(data)
    yield f"/proc/self/fd/{file}"


@contextmanager
def in_directory(data: bytes) -> Iterator[str]:
    """A file where temporary ones go, for as long as it takes to load it."""
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="konnectivity-", suffix=".so") as file:
        file.write(data)
        file.flush()
        yield file.name


class ExtensionModules(MetaPathFinder):
    """Finds the compiled modules of an archive.

    Args:
        compiled: their paths in it.

    """

    def __init__(self, archive: str, compiled: Sequence[str]) -> None:
        self._archive = archive
        self._paths: Mapping[str, str] = {module_name(path): path for path in compiled}

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if (member := self._paths.get(name)) is None:
            return None
        location = os.path.join(self._archive, member)
        return spec_from_file_location(name, location, loader=ExtensionModule(name, location, self._archive))


class ExtensionModule(ExtensionFileLoader):
    """Loads one, from the first place that will do."""

    places: Sequence[Place] = (in_memory, in_directory)

    def __init__(self, name: str, path: str, archive: str) -> None:
        super().__init__(name, path)
        self._archive = archive

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        location, reasons = spec.origin, []
        data = zipimporter(self._archive).get_data(self.path)
        for place in self.places:
            try:
                with place(data) as spec.origin:
                    return super().create_module(spec)
            except (OSError, AttributeError, ImportError) as error:  # AttributeError: no memfd_create on this system
                reasons.append(getattr(error, "strerror", None) or str(error))
            finally:
                spec.origin = location
        raise ImportError(f"cannot load {location}: {'; '.join(reasons)}", name=spec.name, path=location)

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        module.__file__ = self.path  # and not where it was loaded from


def module_name(path: str) -> str:
    """`google/_upb/_message.abi3.so` -> `google._upb._message`."""
    for suffix in EXTENSION_SUFFIXES:  # the longest come first
        if path.endswith(suffix):
            return path.removesuffix(suffix).replace("/", ".")
    raise ValueError(f"{path} is no compiled module of this Python")
