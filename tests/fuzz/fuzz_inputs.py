"""Inputs for the fuzz targets: mutations of the corpus, and random bytes."""

from __future__ import annotations

import time

from fuzz_targets import CPU_S_PER_BYTE, CPU_S_PER_INPUT, TARGETS, seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MOST_GROWN = 12_000  # bytes of an input that repeats a smaller one
_CHANGES = st.tuples(
    st.sampled_from(["replace", "drop", "repeat", "insert", "flip"]),
    st.integers(0, 10_000),
    st.binary(max_size=12) | st.sampled_from([b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4), b"\r\n", b"%", b"\x80"]),
)


def _changed(seed: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    data = bytearray(seed)
    for change, place, other in changes:
        at = place % (len(data) + 1)
        end = at + len(other)
        match change:
            case "replace":
                data[at:end] = other
            case "drop":
                del data[at:end]
            case "repeat":
                data[at:at] = data[at : at + 10 * len(other)]
            case "insert":
                data[at:at] = other
            case "flip" if other and at < len(data):
                data[at] ^= other[0]
    return bytes(data[:4000])


def inputs(target: str) -> st.SearchStrategy[bytes]:
    """Return the strategy of inputs for one target."""
    known = seeds(target)
    joined = st.lists(st.sampled_from(known), min_size=1, max_size=3).map(b"".join)
    changed = st.builds(_changed, joined, st.lists(_CHANGES, max_size=6))
    grown = st.builds(lambda data, times: (data * times)[:MOST_GROWN], changed, st.integers(2, 200))
    return changed | changed | st.binary(max_size=300) | grown


def run(name: str, data: bytes) -> None:
    """Give a target one input; raise its error, or AssertionError if it takes more CPU time than allowed."""
    allowed = CPU_S_PER_INPUT + CPU_S_PER_BYTE[name] * len(data)
    for again in (True, False):  # the first try may fill caches or include a garbage collection
        began = time.thread_time()
        TARGETS[name](data)
        taken = time.thread_time() - began
        if taken <= allowed:
            return
        assert again, f"{taken:.3f} s of CPU time for {len(data)} bytes; allowed are {allowed:.3f} s"


def fuzz(name: str, examples: int) -> None:
    """Give a target `examples` inputs; raise its error for the smallest input found that breaks it."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(inputs(name))
    def given_to_target(data: bytes) -> None:
        try:
            run(name, data)
        except BaseException as error:
            error.add_note(f"target {name}, input {data!r}")
            raise

    given_to_target()
