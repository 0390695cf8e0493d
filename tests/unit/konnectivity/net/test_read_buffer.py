"""Memory that sockets read into."""

import threading

from konnectivity.net import read_buffer


def test_a_thread_has_one():
    assert read_buffer.buffer().obj is read_buffer.buffer().obj
    assert len(read_buffer.buffer()) == read_buffer.SIZE


def test_threads_do_not_share_it():
    other = []
    thread = threading.Thread(target=lambda: other.append(read_buffer.buffer()))
    thread.start()
    thread.join()
    assert other[0].obj is not read_buffer.buffer().obj
