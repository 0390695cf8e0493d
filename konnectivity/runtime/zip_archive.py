"""Zip archive of the programs: loads its compiled modules without leaving a file behind.

`zipimport` reads Python modules from the archive, but the dynamic linker needs a compiled module as a file. It gets an
unnamed file in memory or, on a kernel without these, a temporary file that is deleted once it is loaded. So a read-only
root works, and there is no cache to tamper with. Does not know the programs.
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

_MFD_NOEXEC_SEAL = 8  # the file cannot be executed, which hosts may demand (vm.memfd_noexec); unknown before Linux 6.3

Place = Callable[[bytes], AbstractContextManager[str]]


def main(name: str, archive: str, compiled: Sequence[str], python: tuple[int, int], machine: str) -> None:
    """Run the program that `sys.argv` names. The archive's `__main__` passes values that its build recorded.

    Args:
        name: path of the archive, for messages.
        archive: path that leads to the archive even if `name` is replaced.
        compiled: paths of compiled modules in the archive.
        python: version of Python that the modules were built for.
        machine: machine that the modules were built for.

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
    """Yield the path of a file in memory, which stays open: glibc takes two libraries with one path for the same."""
    try:
        file = os.memfd_create("konnectivity", os.MFD_CLOEXEC | _MFD_NOEXEC_SEAL)
    except OSError:
        file = os.memfd_create("konnectivity", os.MFD_CLOEXEC)
    with open(file, "wb", closefd=False) as writer:
        writer.write(data)
    yield f"/proc/self/fd/{file}"


@contextmanager
def in_directory(data: bytes) -> Iterator[str]:
    """Yield the path of a temporary file, which is deleted afterwards."""
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="konnectivity-", suffix=".so") as file:
        file.write(data)
        file.flush()
        yield file.name


class ExtensionModules(MetaPathFinder):
    """Finder of the compiled modules of an archive.

    Args:
        archive: path of the archive.
        compiled: paths of the modules in the archive.

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
    """Loader of one compiled module, from the first kind of file that works."""

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
        module.__file__ = self.path  # instead of the file it was loaded from


def module_name(path: str) -> str:
    """Return the name of the compiled module at `path`: `google/_upb/_message.abi3.so` is `google._upb._message`."""
    for suffix in EXTENSION_SUFFIXES:  # the longest is first
        if path.endswith(suffix):
            return path.removesuffix(suffix).replace("/", ".")
    raise ValueError(f"{path} is no compiled module of this Python")
