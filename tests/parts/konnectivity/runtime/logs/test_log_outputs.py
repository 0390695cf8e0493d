"""Log files: rotation by name, a maximum size, and paths that are not our log files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from konnectivity.runtime.logs.log_outputs import LogFile


def test_a_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "log"))
    file.write("before\n")
    (tmp_path / "log").unlink()
    file.write("after\n")
    file.close()
    assert (tmp_path / "log").read_text() == "after\n"


def test_a_file_never_grows_over_its_size(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "log"), 100)
    for n in range(20):
        file.write(f"{n:029}\n")
        assert (tmp_path / "log").stat().st_size <= 100
    file.write("x" * 500 + "\n")  # a line that is larger than the file may be still goes somewhere
    file.close()
    assert (tmp_path / "log").read_text() == "x" * 500 + "\n"
    assert (tmp_path / "log.1").read_text().split() == [f"{n:029}" for n in (18, 19)]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_cannot_be_moved_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "log.1").mkdir()
    file = LogFile(str(tmp_path / "log"), 100)
    for n in range(20):
        file.write(f"{n:029}\n")
    file.close()
    assert (tmp_path / "log").read_text().split() == [f"{n:029}" for n in (18, 19)]


def test_a_file_in_a_directory_that_went_away_and_came_back(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    file = LogFile(str(tmp_path / "logs" / "log"))
    (tmp_path / "logs").rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        file.write("lost\n")
    (tmp_path / "logs").mkdir()
    file.write("kept\n")
    file.close()
    assert (tmp_path / "logs" / "log").read_text() == "kept\n"


def test_a_line_that_was_cut_is_ended_by_the_next(tmp_path: Path) -> None:
    """A full named pipe takes part of a line, as a full disk does, and the next line ends it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = LogFile(str(path))
    with pytest.raises(BlockingIOError):
        file.write("x" * 200_000 + "\n")
    assert len(os.read(reader, 1 << 20)) < 200_000
    file.write("next\n")
    assert os.read(reader, 65536) == b"\nnext\n"
    file.close()
    os.close(reader)


def test_a_named_pipe_that_nobody_reads_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device or address"):
        LogFile(str(tmp_path / "pipe"))


def rotated(path: Path, size: int = 100, lines: int = 20) -> None:
    file = LogFile(str(path), size)
    for n in range(lines):
        file.write(f"{n:029}\n")
    file.close()


@pytest.mark.parametrize("leads_to", ["real", "elsewhere/../real", "link2"])
def test_a_link_stays_and_the_file_behind_it_is_rotated_by_its_own_name(tmp_path: Path, leads_to: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link2").symlink_to(tmp_path / "real")
    link = tmp_path / "link"
    link.symlink_to(leads_to)
    rotated(link)
    assert os.readlink(link) == leads_to
    assert link.read_text().split() == [f"{n:029}" for n in (18, 19)]
    assert (tmp_path / "real.1").is_file()
    assert not (tmp_path / "link.1").exists()
    assert not (tmp_path / "link2.1").exists()


@pytest.mark.parametrize("leads_to", ["/proc/self/fd/{}", "/dev/fd/{}"])
def test_a_file_that_is_open_elsewhere_is_not_rotated(tmp_path: Path, leads_to: str) -> None:
    """/dev/stdout is such a file when the output of a program goes to a file."""
    with open(tmp_path / "out", "ab") as out:
        link = tmp_path / "stdout"
        link.symlink_to(leads_to.format(out.fileno()))
        rotated(link)
        rotated(Path(leads_to.format(out.fileno())))
        assert link.is_symlink()
    assert len((tmp_path / "out").read_text().split()) == 40
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "stdout"]


def test_devices_and_pipes_are_not_rotated(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    rotated(tmp_path / "pipe")
    assert len(os.read(reader, 65536).split()) == 20
    os.close(reader)
    (tmp_path / "null").symlink_to("/dev/null")
    rotated(tmp_path / "null")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["null", "pipe"]


def test_a_file_with_another_name_keeps_its_text_there(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    os.link(tmp_path / "log", tmp_path / "other")
    rotated(tmp_path / "log")
    assert (tmp_path / "other").read_text().startswith("before\n")
    assert (tmp_path / "log").read_text().split() == [f"{n:029}" for n in (18, 19)]


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("precious"), os.mkfifo, Path.mkdir])
def test_what_has_the_name_of_the_old_file_is_not_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "precious").write_text("precious")
    make(tmp_path / "log.1")
    before = os.lstat(tmp_path / "log.1")
    rotated(tmp_path / "log")
    assert os.path.samestat(os.lstat(tmp_path / "log.1"), before)
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "log").stat().st_size <= 100


def test_links_that_lead_in_a_circle_are_an_error_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        LogFile(str(tmp_path / "a"))
