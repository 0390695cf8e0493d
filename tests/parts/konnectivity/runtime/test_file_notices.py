"""Tests of notices about changed files: every way to change a file, and everything of which the kernel is silent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from konnectivity.runtime.file_notices import MAX_LINKS, FileNotices, is_remote, way_of
from konnectivity.runtime.inotify import Inotify

MOUNTS = """\
22 1 0:20 / / rw,relatime - overlay overlay rw
23 22 0:45 / /shared rw shared:7 - nfs4 server:/export rw
24 22 0:46 / /cache rw - fuse.sshfs host: rw
25 22 8:1 / /data rw - ext4 /dev/sda1 rw
"""


@pytest.fixture
def notices() -> Iterator[FileNotices]:
    made = FileNotices()
    yield made
    made.close()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a folder with the file `ca.crt` of a mounted Secret, as the kubelet makes it."""
    folder = tmp_path / "secret"
    (folder / "..first").mkdir(parents=True)
    (folder / "..first" / "ca.crt").write_text("one")
    (folder / "..data").symlink_to("..first")
    (folder / "ca.crt").symlink_to("..data/ca.crt")
    return folder


def replaced(path: Path, text: str) -> None:
    new = path.with_name("new")
    new.write_text(text)
    os.replace(new, path)


def swapped(folder: Path) -> None:
    """Give a mounted Secret other content, as the kubelet does."""
    (folder / "..second").mkdir()
    (folder / "..second" / "ca.crt").write_text("two")
    (folder / "..data_tmp").symlink_to("..second")
    os.replace(folder / "..data_tmp", folder / "..data")
    shutil.rmtree(folder / "..first")


def moved(folder: Path) -> None:
    """Put another folder in the place of one."""
    folder.rename(folder.with_name("before"))
    folder.mkdir()
    (folder / "plain.crt").write_text("two")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a write in place": lambda folder: (folder / "plain.crt").write_text("two"),
    "a rename over the file": lambda folder: replaced(folder / "plain.crt", "two"),
    "the removal of the file": lambda folder: (folder / "plain.crt").unlink(),
    "other rights": lambda folder: (folder / "plain.crt").chmod(0o600),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_of_a_file_is_noticed_once(notices, tmp_path, change):
    (tmp_path / "plain.crt").write_text("one")
    notices.watch_files("a", [str(tmp_path / "plain.crt")])
    assert (notices.take(), notices.unwatched) == (set(), set())
    change(tmp_path)
    assert notices.take() == {"a"}
    assert notices.take() == set()


def test_a_file_beside_a_watched_one_is_not_noticed(notices, tmp_path):
    (tmp_path / "plain.crt").write_text("one")
    notices.watch_files("a", [str(tmp_path / "plain.crt")])
    (tmp_path / "other.log").write_text("line")
    assert notices.take() == set()


def test_a_file_that_is_not_there_is_noticed_when_it_is_added(notices, tmp_path):
    notices.watch_files("a", [str(tmp_path / "plain.crt")])
    assert notices.unwatched == set()
    (tmp_path / "plain.crt").write_text("one")
    assert notices.take() == {"a"}


def test_a_mounted_secret_is_noticed_each_time_it_changes(notices, secret):
    path = str(secret / "ca.crt")
    notices.watch_files("a", [path])
    swapped(secret)
    assert "a" in notices.take() | notices.unwatched
    notices.watch_files("a", [path])  # its owner has read it
    assert (notices.take(), notices.unwatched) == (set(), set())
    (secret / "..second" / "ca.crt").write_text("three")
    assert notices.take() == {"a"}


def test_another_folder_in_the_place_of_one_leaves_its_files_unwatched_until_they_are_watched_again(notices, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    notices.watch_files("a", [str(folder / "plain.crt")])
    moved(folder)
    notices.take()
    assert notices.unwatched == {"a"}
    notices.watch_files("a", [str(folder / "plain.crt")])
    (folder / "plain.crt").write_text("three")
    assert (notices.take(), notices.unwatched) == ({"a"}, set())


def test_added_and_removed_entries_of_a_directory_are_noticed_also_through_a_symlink(notices, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    notices.watch_directory("all", str(tmp_path / "link"))
    for change in ((tmp_path / "real" / "one").mkdir, (tmp_path / "real" / "one").rmdir):
        change()
        assert notices.take() == {"all"}
    (tmp_path / "other").mkdir()
    assert notices.take() == set()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("other")
    assert notices.take() == {"all"}


def test_one_file_of_many_subjects_is_watched_once_and_noticed_for_each(notices, tmp_path):
    path = tmp_path / "shared.crt"
    path.write_text("one")
    for name in "abc":
        notices.watch_files(name, [str(path)])
    notices.forget("b")
    path.write_text("two")
    assert notices.take() == {"a", "c"}
    for name in "ac":
        notices.forget(name)
    path.write_text("three")
    assert notices.take() == set()


def test_events_that_the_kernel_drops_count_as_changes_of_everything(notices, tmp_path):
    """Fill the kernel's queue with renames, which it cannot fold into one event."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        notices.watch_files(name, [str(tmp_path / name)])
    room = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    assert room < 100_000
    for _ in range(room // 4 + 1):
        os.rename(tmp_path / "one", tmp_path / "x")
        os.rename(tmp_path / "x", tmp_path / "one")
    assert notices.take() == {"one", "two"}


def test_without_inotify_everything_is_unwatched(tmp_path):
    def refuse() -> Inotify:
        raise OSError(24, "Too many open files")

    notices = FileNotices(refuse)
    notices.watch_files("a", [str(tmp_path / "plain.crt")])
    notices.watch_directory("all", str(tmp_path))
    assert (notices.take(), notices.unwatched) == (set(), {"a", "all"})
    notices.forget("a")
    assert notices.unwatched == {"all"}
    notices.close()


class FullInotify(Inotify):
    """Instance of a user who has as many watches as the kernel allows."""

    def add(self, directory: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_directory_beyond_the_limit_of_watches_is_unwatched(tmp_path):
    notices = FileNotices(FullInotify)
    notices.watch_files("a", [str(tmp_path / "plain.crt")])
    assert notices.unwatched == {"a"}
    notices.close()


@pytest.mark.parametrize(("device", "remote"), [((0, 20), False), ((0, 45), True), ((0, 46), True), ((8, 1), False)])
def test_network_file_systems_are_known_by_their_mounts(tmp_path, device, remote):
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert is_remote(os.makedev(*device), str(tmp_path / "mountinfo")) is remote
    assert not is_remote(os.makedev(*device), str(tmp_path / "missing"))


def test_a_way_names_every_symlink_and_ends_where_they_lead(secret, monkeypatch):
    links = [(str(secret), "ca.crt"), (str(secret), "..data")]
    assert way_of(str(secret / "ca.crt")) == (links, str(secret / "..first" / "ca.crt"))
    monkeypatch.chdir(secret)
    assert way_of("../secret/./ca.crt") == way_of(str(secret / "ca.crt"))
    (secret / "loop").symlink_to("loop")
    assert len(way_of(str(secret / "loop"))[0]) > MAX_LINKS


def test_an_instance_that_nobody_refers_to_is_closed():
    """The kernel lets a user have 128 of them, and a process may serve many directories one after the other."""
    allowed = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    for _ in range(min(allowed, 1000) + 1):
        Inotify()
