"""Content of a path: a regular file is read, whole and bounded; no other kind of file makes a program wait."""

from __future__ import annotations

import os

import pytest

from konnectivity import tls
from konnectivity.kube.api_error import KubeError
from konnectivity.kube.credentials import TokenFile
from konnectivity.kube.kubeconfig import load
from konnectivity.untrusted.file_content import read_any, read_file
from konnectivity_agent.name_probe import Probe
from konnectivity_agent.server_greeting import read_token


@pytest.fixture
def pipe(tmp_path):
    """Return the path of a pipe without a writer."""
    os.mkfifo(tmp_path / "pipe")
    return str(tmp_path / "pipe")


@pytest.mark.timeout(5)
def test_what_is_no_regular_file_is_told_at_once(pipe, tmp_path):
    for path, words in {
        pipe: "is no regular file",
        "/dev/zero": "is no regular file",
        str(tmp_path): "Is a directory",
        str(tmp_path / "none"): "No such file or directory",
    }.items():
        with pytest.raises(OSError) as caught:
            read_file(path)
        assert caught.value.strerror == words
        assert caught.value.filename == path


@pytest.mark.parametrize("read", [read_file, read_any])
def test_files_are_bounded(read, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    assert read(path, 1000) == b"x" * 1000
    with pytest.raises(OSError, match=r"^is larger than 999 bytes$"):
        read(path, 999)


def test_a_tool_reads_pipes_and_devices():
    reader, writer = os.pipe()
    os.write(writer, b"text")
    os.close(writer)
    assert read_any(f"/dev/fd/{reader}") == b"text"
    os.close(reader)
    assert read_any("/dev/null") == b""
    with pytest.raises(OSError, match="is larger than"):
        read_any("/dev/zero")


@pytest.mark.timeout(10)
async def test_a_pipe_in_place_of_a_file_stops_no_program(pipe):
    """An open that waits for a writer would stop all tunnels of a program that reads one of these files."""
    with pytest.raises(tls.TlsError, match="is no regular file"):
        tls.ClientTls(pipe, "", "", ("h2",))
    with pytest.raises(OSError, match="is no regular file"):
        read_token(pipe)
    with pytest.raises(KubeError, match="is no regular file"):
        await TokenFile(pipe).header()
    with pytest.raises(KubeError, match="is no regular file"):
        load(pipe)
    assert not Probe(pipe, pipe).knows("name.test")
