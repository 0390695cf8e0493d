"""Lines are written by a thread of its own: whatever is wrong with the disk, the program goes on."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from konnectivity.runtime import logs
from konnectivity.runtime.logs.log_outputs import LogFile, StreamSink
from konnectivity.runtime.logs.log_writer import MAX_LINES, Writer

PROGRAM = """
import sys
from dataclasses import dataclass
from konnectivity.runtime import logs
from konnectivity.runtime.logs.log_options import LogOptions
from konnectivity.runtime.options import parse
@dataclass(frozen=True)
class Program(LogOptions):
    pass
parse(Program, sys.argv[1:], {}, "program").configure_log("program")
log = logs.get("program")
"""


class Stuck:
    """A disk that takes nothing until it is let go, and then everything."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.text = ""
        self.writes = 0

    def write(self, text: str) -> None:
        assert self.free.wait(30)
        self.text += text
        self.writes += 1

    def close(self) -> None:
        self.text += "closed"


class Broken:
    """A disk that fails for as long as one wants."""

    def __init__(self, works: bool = False) -> None:
        self.works = works
        self.text = ""

    def write(self, text: str) -> None:
        if not self.works:
            raise OSError("no space left on device")
        self.text += text

    def close(self) -> None:
        pass


def record(text: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("x", level, "m.py", 1, text, None, None)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def write() -> Iterator[Callable[..., Writer]]:
    made: list[Writer] = []

    def make(*sinks: tuple[int, object]) -> Writer:
        made.append(Writer(sinks))  # type: ignore[arg-type]
        made[0].setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        return made[0]

    yield make
    for each in made:
        each.close()


def run(code: str, *flags: str, **more: object) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", PROGRAM + code, *flags]
    return subprocess.run(arguments, text=True, timeout=30, check=False, **more)  # type: ignore[call-overload, no-any-return]


# --- the writer ---


def test_lines_come_in_order_and_close_writes_the_rest() -> None:
    stream = io.StringIO()
    writer = Writer([(logging.NOTSET, StreamSink(stream))])
    for n in range(1000):
        writer.emit(record(str(n)))
    writer.close()
    assert stream.getvalue().split() == [str(n) for n in range(1000)]
    assert writer.dropped == 0


def test_a_stuck_disk_holds_up_nobody_and_the_count_of_lines_has_an_end(write: Callable[..., Writer]) -> None:
    disk = Stuck()
    writer = write((logging.NOTSET, disk))
    writer.emit(record("first"))
    time.sleep(0.05)  # it is being written
    before = time.monotonic()
    for _ in range(MAX_LINES + 500):
        writer.emit(record("x" * 100))
    assert time.monotonic() - before < 2
    assert writer.dropped == 500
    disk.free.set()
    writer.flush()
    assert disk.text.count("x" * 100) == MAX_LINES
    assert disk.writes < 10
    assert "ERROR Log lines were dropped" in disk.text


def test_the_end_does_not_wait_for_a_stuck_disk() -> None:
    disk = Stuck()
    writer = Writer([(logging.NOTSET, disk)])
    writer.emit(record("x"))
    before = time.monotonic()
    writer.flush()
    writer.close()
    assert time.monotonic() - before < 3
    disk.free.set()
    wait_until(lambda: disk.text.endswith("closed"))


def test_lost_lines_are_counted_and_spoken_of_less_and_less(write: Callable[..., Writer]) -> None:
    good, bad = Broken(works=True), Broken()
    writer = write((logging.ERROR, good), (logging.NOTSET, bad))
    for _ in range(40):
        writer.emit(record("lost"))
        writer.flush()
    assert writer.dropped >= 40
    assert 2 <= good.text.count("Log lines were dropped") <= 8
    assert "lost" not in good.text.replace("Log lines", "")
    bad.works = True
    writer.emit(record("kept"))
    writer.flush()
    assert "kept" in bad.text
    assert "Log lines were dropped" in bad.text, "the disk has room again, and is not told what it missed"


def test_each_sink_has_its_level(write: Callable[..., Writer]) -> None:
    errors, everything = Broken(works=True), Broken(works=True)
    writer = write((logging.ERROR, errors), (logging.NOTSET, everything))
    for level in (logging.INFO, logging.WARNING, logging.ERROR):
        writer.emit(record("x", level))
    writer.flush()
    assert errors.text == "ERROR x\n"
    assert everything.text == "INFO x\nWARNING x\nERROR x\n"


def test_a_closed_stream_is_no_reason_to_fail(write: Callable[..., Writer]) -> None:
    stream = io.StringIO()
    writer = write((logging.NOTSET, StreamSink(stream)))
    stream.close()
    writer.emit(record("x"))
    writer.flush()
    assert writer.dropped == 1


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("layout", [logs.KlogFormatter(), logs.JsonFormatter()])
def test_a_value_that_cannot_be_shown_costs_its_line_only(
    write: Callable[..., Writer], layout: logging.Formatter
) -> None:
    disk = Broken(works=True)
    writer = write((logging.NOTSET, disk))
    writer.setFormatter(layout)
    bad = record("bad")
    bad.fields = {"value": Unspeakable()}
    for each in (bad, record("good")):
        writer.emit(each)
    writer.flush()
    assert writer.dropped == 1
    assert "good" in disk.text


# --- the file ---


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
    """A named pipe that is full takes part of what it is given, as a full disk does."""
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


# --- a program ---


def test_the_last_lines_of_a_program_are_written(tmp_path: Path) -> None:
    result = run("for n in range(100): log.info(str(n))", "--skip-headers", capture_output=True)
    assert result.stderr.split() == [f'"{n}"' for n in range(100)]
    result = run("log.info('told'); raise ValueError('end')", "--skip-headers", capture_output=True)
    assert '"told"\n' in result.stderr
    assert "ValueError: end" in result.stderr


def test_a_program_whose_stderr_nobody_reads_goes_on(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    code = f"for n in range(20_000): log.info('x' * 100)\nopen({str(tmp_path / 'done')!r}, 'w').close()"
    code += "\nimport sys; sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM + code], stdin=subprocess.PIPE, stderr=writing)
    try:
        wait_until((tmp_path / "done").exists)
        process.communicate(timeout=10)  # and it ends: the lines left are given up
        assert process.returncode == 0
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(reading)
        os.close(writing)


def test_a_program_without_stderr_goes_on() -> None:
    code = "log.info('x'); logs.flush(); print(logs.dropped())"
    result = run(code, stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2))
    assert (result.returncode, result.stdout) == (0, "0\n")


def test_a_program_that_may_write_nowhere_logs_to_stderr(tmp_path: Path) -> None:
    for flag in ("--log-dir=/proc", "--log-file=/proc/none/log", f"--log-file={tmp_path}"):
        result = run("log.info('told')", "--logtostderr=false", "--logging-format=json", flag, capture_output=True)
        lines = result.stderr.splitlines()
        assert "Cannot open the log file" in lines[0]
        assert '"msg": "told"' in lines[-1]


def narrow_pipe() -> tuple[int, int]:
    """Return the ends of a pipe of 4 KiB."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    return reading, writing


@pytest.mark.parametrize(
    "more",
    [
        "",
        "print('x' * 100_000, file=sys.stderr)",
        "raise ValueError('x' * 100_000)",
        "import warnings; warnings.warn('x' * 100_000)",
        "import threading; threading.Thread(target=lambda: 1 / 0).start()",
        "raise StartError('x' * 100_000)",
        "while True: await asyncio.sleep(1)",
    ],
)
def test_a_program_whose_stderr_nobody_reads_ends(more: str) -> None:
    """Whatever is said at the end, buffered or not, by whomever: 2 seconds are enough."""
    code = (
        "import asyncio\nfrom konnectivity.runtime import lifecycle\nfrom konnectivity.errors import StartError\n"
        "async def main():\n"
        "    for n in range(5_000): log.info('x' * 100)\n"
        "    print('ready', flush=True)\n"
        f"    {more or 'pass'}\n"
        "    return 0\n"
        "sys.exit(lifecycle.run(main))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    reading, writing = narrow_pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + code], stdout=subprocess.PIPE, stderr=writing, env=environment
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        if "while" in more:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
        os.close(reading)
        os.close(writing)


def test_what_is_said_on_stderr_is_written_before_a_program_ends() -> None:
    code = "from konnectivity.runtime.logs import error_stream; error_stream.install()\n"
    result = run(code + "print('one', 2, file=sys.stderr); raise ValueError('\\udcff')", capture_output=True)
    assert result.stderr.startswith("one 2\nTraceback")
    assert result.stderr.endswith("ValueError: \\udcff\n")


def test_lines_that_wait_are_limited_in_length(write: Callable[..., Writer]) -> None:
    disk = Stuck()
    writer = write((logging.NOTSET, disk))
    for _ in range(2_000):
        writer.emit(record("x" * 16_000))
    assert writer.dropped >= 1_400
    disk.free.set()
    writer.flush()
    writer.emit(record("again"))
    writer.flush()
    assert "again" in disk.text


# --- rotation: what is not ours is left alone ---


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
    """As /dev/stdout is, when the output of a program goes to a file."""
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
