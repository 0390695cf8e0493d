"""Resolver of targets' names with the system's resolver and real threads."""

from __future__ import annotations

import socket
from collections import Counter

import pytest

from konnectivity_agent.resolver import Resolver


async def test_a_name_of_this_machine_is_found():
    found = await Resolver(Counter()).addresses("localhost", 443, socket.AF_INET)
    assert [address for *_, address in found] == [("127.0.0.1", 443)]


async def test_a_text_that_can_be_no_name_raises_the_system_s_error():
    with pytest.raises(UnicodeError):
        await Resolver(Counter()).addresses("a" * 70 + ".example", 1)
