"""Dials of an agent with real sockets: the error texts are those of Go, with the first of several addresses."""

from __future__ import annotations

import asyncio
import socket

import pytest

from konnectivity.net.destination_policy import parse
from konnectivity_agent.dialer import DialCounters, Dialer

CLOSED = 1  # no program listens on this port


class Asked:
    """Dial whose answer the test awaits."""

    on_cancel = None

    def __init__(self, address, protocol="tcp"):
        self.address, self.protocol = address, protocol
        self.answer = asyncio.get_running_loop().create_future()

    def connected(self, relay):
        self.answer.set_result("connected")

    def failed(self, text):
        self.answer.set_result(text)


class Names:
    """Resolver that knows some names: their addresses, or the error that the system's resolver raises."""

    def __init__(self):
        self.known = {}

    async def addresses(self, host, port, family):
        known = self.known.get(host, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        if isinstance(known, Exception):
            raise known
        found = [each for text in known for each in socket.getaddrinfo(text, port, 0, socket.SOCK_STREAM)]
        if family:
            found = [each for each in found if each[0] == family]
        if not found:
            raise socket.gaierror(socket.EAI_ADDRFAMILY, "Address family for hostname not supported")
        return found


@pytest.fixture
def names():
    return Names()


async def text_of(names, address, protocol="tcp", dials=None):
    """Return the answer to a dial."""
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        asked = Asked(address, protocol)
        Dialer(tasks, dials or DialCounters(), parse([], []), names).open(asked)
        return await asked.answer


@pytest.mark.parametrize(
    ("addresses", "first"),
    [
        (["127.0.0.2"], f"127.0.0.2:{CLOSED}"),
        (["127.0.0.2", "127.0.0.3"], f"127.0.0.2:{CLOSED}"),
        (["127.0.0.2", "127.0.0.3", "::1", "127.0.0.4"], f"127.0.0.2:{CLOSED}"),
        (["::1", "127.0.0.2"], f"[::1]:{CLOSED}"),
        (["127.0.0.2", "255.255.255.255"], f"127.0.0.2:{CLOSED}"),
    ],
)
async def test_of_several_addresses_the_text_names_the_first(names, addresses, first):
    names.known["several.test"] = addresses
    assert await text_of(names, f"several.test:{CLOSED}") == f"dial tcp {first}: connect: connection refused"


@pytest.mark.parametrize(
    ("address", "protocol", "text"),
    [
        (f"127.0.0.1:{CLOSED}", "tcp4", f"dial tcp4 127.0.0.1:{CLOSED}: connect: connection refused"),
        (f"[::1]:{CLOSED}", "tcp6", f"dial tcp6 [::1]:{CLOSED}: connect: connection refused"),
        ("[::1]:80", "tcp4", "dial tcp4: address ::1: no suitable address found"),
        ("127.0.0.1:80", "tcp6", "dial tcp6: address 127.0.0.1: no suitable address found"),
        ("six.test:80", "tcp4", "dial tcp4: address six.test: no suitable address found"),
        ("four.test:80", "tcp6", "dial tcp6: address four.test: no suitable address found"),
        ("[::1%nosuch]:80", "tcp", "dial tcp: lookup ::1%nosuch: no such host"),
        ("[127.0.0.1]:1", "tcp", "dial tcp 127.0.0.1:1: connect: connection refused"),
        (":1", "tcp", "dial tcp 127.0.0.1:1: connect: connection refused"),
        ("127.0.0.1:0", "tcp", "dial tcp 127.0.0.1:0: connect: connection refused"),
        ("none.test:80", "tcp", "dial tcp: lookup none.test: no such host"),
        ("later.test:80", "tcp", "dial tcp: lookup later.test: server misbehaving"),
        ("odd.test:80", "tcp", "dial tcp: lookup odd.test: no such host"),
    ],
)
async def test_a_failed_dial_has_the_text_of_go(names, address, protocol, text):
    names.known |= {
        "six.test": ["::1"],
        "four.test": ["127.0.0.1"],
        "none.test": socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        "later.test": socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        "odd.test": UnicodeError("encoding with 'idna' codec failed"),
    }
    dials = DialCounters()
    assert await text_of(names, address, protocol, dials) == text
    assert dials.failures == {"unknown": 1}


async def test_an_unexpected_error_is_answered_as_an_internal_error(names):
    names.known["broken.test"] = RuntimeError("what is this")
    assert await text_of(names, "broken.test:80") == "dial tcp broken.test:80: internal error of the agent"


@pytest.mark.parametrize(
    "address", ["255.255.255.255:80", "224.0.0.1:80", "[ff02::1]:80", "[fe80::1]:80", "[fe80::1%lo]:80"]
)
async def test_an_address_that_no_connection_can_have_fails_with_text_in_words(names, address):
    text = await text_of(names, address)
    assert text.startswith(f"dial tcp {address}: connect: ")
    assert "rrno" not in text
    assert text.isascii()
