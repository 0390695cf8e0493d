"""Notices about files that may have changed, from the kernel where it sends any.

Owns the watches on directories, and which subject each watch is for. A file is watched by the directories that its path
leads through: a rename, a write in place, another target of a symlink, an added or a removed file are events of one
of them. Files of network file systems or beyond the limit of watches, and all files where there is no inotify, are
listed as unwatched: the caller must look at these. Does not read any file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from konnectivity.runtime import logs
from konnectivity.runtime.inotify import Happening, Inotify

log = logs.get(__name__)

EVERY_ENTRY = ""  # in the place of a name: all entries of a directory
MAX_LINKS = 40  # symlinks in one path, as the kernel follows
_MOUNTS = "/proc/self/mountinfo"
# File systems whose files other machines change without an event here; beside these, all of FUSE.
_REMOTE = frozenset(
    ("9p", "afs", "beegfs", "ceph", "cifs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs", "vboxsf", "virtiofs")
)

Entry = tuple[str, str]  # directory, name of an entry


class FileNotices:
    """Notices about the files of some subjects, until `close`.

    Attributes:
        unwatched: subjects with a file of which the kernel may report nothing.

    Args:
        begin: makes the instance of inotify.

    """

    def __init__(self, begin: Callable[[], Inotify] = Inotify) -> None:
        self.unwatched: set[str] = set()
        self._watched: dict[str, frozenset[tuple[int, str]]] = {}  # watches and names by subject
        self._subjects: dict[int, dict[str, dict[str, None]]] = {}  # subjects by watch and name
        self._noticed: set[str] = set()
        self._remote: dict[int, bool] = {}  # by device
        self._reported = False
        self._kernel: Inotify | None = None
        try:
            self._kernel = begin()
        except (OSError, AttributeError) as error:
            log.warning("The kernel reports no changed files, looking at each file instead", reason=str(error))

    def watch_files(self, subject: str, paths: Iterable[str]) -> None:
        """Notice changes of files for a subject, in the place of what was watched for the subject before.

        A caller that reads the files after this call misses no later change.
        """
        known = list(paths)
        self._watch(subject, lambda: _entries_of(known))

    def watch_directory(self, subject: str, path: str) -> None:
        """Notice added, removed and changed entries of a directory for a subject, as `watch_files` does for files."""

        def entries() -> set[Entry]:
            links, directory = way_of(path)
            return {*links, (directory, EVERY_ENTRY)}

        self._watch(subject, entries)

    def forget(self, subject: str) -> None:
        """Notice nothing more for a subject."""
        self.unwatched.discard(subject)
        self._noticed.discard(subject)
        for watch, name in self._watched.pop(subject, ()):
            self._leave(subject, watch, name)

    def take(self) -> set[str]:
        """Return the subjects of which the kernel reported a change since the last call."""
        if self._kernel is not None:
            for watch, name, happening in self._kernel.events():
                if happening is Happening.ENTRY:
                    self._entry_changed(watch, name)
                elif happening is Happening.GONE:
                    self._directory_gone(watch)
                else:
                    self._noticed |= self._watched.keys()
        noticed, self._noticed = self._noticed, set()
        return noticed

    def close(self) -> None:
        """End all watches."""
        self.unwatched |= self._watched.keys()
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None

    def _watch(self, subject: str, find: Callable[[], set[Entry]]) -> None:
        entries = find()
        watches = {directory: self._add(directory) for directory in {directory for directory, _ in entries}}
        now = frozenset((watch, name) for at, name in entries if (watch := watches[at]) is not None)
        before = self._watched.get(subject, frozenset())
        self._watched[subject] = now
        for watch, name in now - before:
            self._subjects.setdefault(watch, {}).setdefault(name, {})[subject] = None
        for watch, name in before - now:
            self._leave(subject, watch, name)
        # A symlink that was given another target before its directory was watched is found now.
        if None in watches.values() or find() != entries:
            self.unwatched.add(subject)
        else:
            self.unwatched.discard(subject)

    def _add(self, directory: str) -> int | None:
        """Watch a directory, and return the number of the watch; None if the kernel may report nothing of it."""
        if self._kernel is None:
            return None
        try:
            return None if self._is_remote(os.stat(directory).st_dev) else self._kernel.add(directory)
        except FileNotFoundError:
            return None
        except OSError as error:
            if not self._reported:
                self._reported = True
                text = "Cannot watch a directory, looking at its files instead, as at those of others like it"
                log.warning(text, directory=directory, reason=error.strerror)
            return None

    def _is_remote(self, device: int) -> bool:
        if device not in self._remote:
            self._remote[device] = is_remote(device)
        return self._remote[device]

    def _leave(self, subject: str, watch: int, name: str) -> None:
        """End a subject's interest in an entry, and the watch that no subject needs any more."""
        names = self._subjects.get(watch, {})
        subjects = names.get(name, {})
        subjects.pop(subject, None)
        if not subjects:
            names.pop(name, None)
        if not names and self._subjects.pop(watch, None) is not None and self._kernel is not None:
            self._kernel.remove(watch)

    def _entry_changed(self, watch: int, name: str) -> None:
        names = self._subjects.get(watch, {})
        if name:
            self._noticed.update(names.get(name, ()), names.get(EVERY_ENTRY, ()))
        else:  # rights of the directory itself
            self._noticed.update(*names.values())

    def _directory_gone(self, watch: int) -> None:
        """Count all subjects of a directory as unwatched, until they are watched anew."""
        self.unwatched.update(*self._subjects.get(watch, {}).values())


def way_of(path: str, at: str = "") -> tuple[list[Entry], str]:
    """Return the symlinks that a path leads through, as pairs of directory and name, and the path that it leads to.

    A relative path begins at the directory `at`, which is no symlink itself; empty: the working directory.
    """
    at = "/" if path.startswith("/") else at or os.getcwd()
    ahead = path.split("/")[::-1]
    links: list[Entry] = []
    while ahead:
        name = ahead.pop()
        if name in ("", "."):
            continue
        if name == "..":
            at = os.path.dirname(at)
            continue
        try:
            target = os.readlink(f"{at}/{name}")
        except OSError:  # no symlink, or nothing
            at = f"{at.rstrip('/')}/{name}"
            continue
        links.append((at, name))
        if len(links) > MAX_LINKS:
            break
        at = "/" if target.startswith("/") else at
        ahead += target.split("/")[::-1]
    return links, at


def _entries_of(paths: Iterable[str]) -> set[Entry]:
    """Return the entries that decide where files are, and what they hold; most files are in one directory."""
    found: set[Entry] = set()
    ways: dict[str, tuple[list[Entry], str]] = {}
    for path in paths:
        directory, name = os.path.split(path)
        if directory not in ways:
            ways[directory] = way_of(directory)
            found.update(ways[directory][0])
        links, end = way_of(name, ways[directory][1])
        found.update(links)
        found.add(os.path.split(end))
    return found


def is_remote(device: int, mounts: str = _MOUNTS) -> bool:
    """Return whether other machines may change the files of a mounted device; False if that cannot be known."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
            kinds = {line.partition(" - ")[2].split(" ", 1)[0] for line in lines if line.split(" ", 3)[2] == number}
    except (OSError, IndexError):
        return False
    return any(kind in _REMOTE or kind.startswith("fuse") for kind in kinds)
