"""How large a connection's window should be, from its rate and the round trip of the empty line. Pure arithmetic.

What is under way on a line is what others wait behind: bytes beyond rate x round trip stand in a queue, in the kernel
of whichever program is busy. So beside connections that receive little (a terminal, a log) a window is what makes a
loaded round trip about twice an empty one; where all are bulk it may be more, which is faster.
"""

from __future__ import annotations

SHARED = (2, 0.0003)  # so many round trips, and seconds, of its rate: beside connections that receive little
ALONE = (4, 0.003)  # and where there are none
SHARED_S = 2.0  # after such a connection was seen: longer than between two keystrokes
COMPANY_S = 0.1  # between two looks for one
COMPANY_EACH_S = 0.0001  # and so much more for each connection there is: a look goes over all of them
LIGHT = 1024 * 1024  # bytes per second: less is little
LOOK_S = 0.005  # a rate is taken over this time, and a round trip, at least: bytes come in bursts


def wanted(passed: int, elapsed_s: float, round_trip_s: float, alone: bool) -> int:
    """The window, in bytes, of a connection of which `passed` bytes went by in `elapsed_s` seconds."""
    trips, turn_s = ALONE if alone else SHARED  # programs take turns on their cores
    return int(passed / elapsed_s * (trips * round_trip_s + turn_s))
