"""Name server on its own loopback address: correct, slow, wrong or gone, for each name or for all names.

Programs that shall use it are started `within` a mount namespace that has its resolv.conf (needs root).
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ADDRESS = "127.53.0.1"  # whatever else listens on port 53 here is elsewhere
PORT = 53
_A = 1
_NO_ERROR, _SERVER_FAILURE, _NO_SUCH_NAME = 0, 2, 3
_RESPONSE = 0x8180  # an answer, recursion asked for and available
_POLL_S = 0.05


@dataclass
class Zone:
    """Answers of the name server. Names are without the final dot."""

    addresses: dict[str, str] = field(default_factory=dict)  # IPv4 of each name there is
    slow: dict[str, float] = field(default_factory=dict)  # seconds an answer takes, by name; "" stands for all others
    failing: bool = False  # the server answers that it cannot answer
    silent: bool = False  # the server answers nothing
    silent_below: str = ""  # the server ignores names with this suffix; empty: answers all


class NameServer:
    """Name server that runs for the length of the block.

    Args:
        directory: folder for the resolv.conf.
    """

    def __init__(self, directory: Path) -> None:
        self.zone = Zone()
        self.asked: Counter[str] = Counter()
        self._resolv_conf = directory / "resolv.conf"
        self._resolv_conf.write_text(f"nameserver {ADDRESS}\n")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._stopping = threading.Event()
        self._late: list[threading.Timer] = []
        self._thread = threading.Thread(target=self._serve, name="name server")

    @property
    def within(self) -> list[str]:
        """Return a command prefix that runs a program with this name server in its resolv.conf."""
        script = f'mount --bind {self._resolv_conf} /etc/resolv.conf && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh"]

    def __enter__(self) -> Self:
        self._socket.bind((ADDRESS, PORT))
        self._socket.settimeout(_POLL_S)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        for each in self._late:
            each.cancel()
            each.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                query, client = self._socket.recvfrom(4096)
                self._answer(query, client)

    def _answer(self, query: bytes, client: tuple[str, int]) -> None:
        name, kind = _question(query)
        self.asked[name] += 1
        zone = self.zone
        if zone.silent or (zone.silent_below and name.endswith(zone.silent_below)):
            return
        answer = self._say(query, name, kind)
        delay_s = zone.slow.get(name, zone.slow.get("", 0.0))
        if not delay_s:
            self._socket.sendto(answer, client)
            return
        timer = threading.Timer(delay_s, self._socket.sendto, (answer, client))
        self._late.append(timer)
        timer.start()

    def _say(self, query: bytes, name: str, kind: int) -> bytes:
        address = self.zone.addresses.get(name)
        code = _SERVER_FAILURE if self.zone.failing else _NO_ERROR if address else _NO_SUCH_NAME
        question = query[12 : _end_of_name(query) + 4]
        record = b""
        if address and kind == _A and code == _NO_ERROR:
            record = b"\xc0\x0c" + struct.pack(">HHIH", _A, 1, 0, 4) + socket.inet_aton(address)
        head = struct.pack(">HHHHHH", int.from_bytes(query[:2], "big"), _RESPONSE | code, 1, bool(record), 0, 0)
        return head + question + record


def _question(query: bytes) -> tuple[str, int]:
    """Return the name and the type of a question."""
    end = _end_of_name(query)
    labels, place = [], 12
    while query[place]:
        labels.append(query[place + 1 : place + 1 + query[place]].decode("latin-1").lower())
        place += 1 + query[place]
    return ".".join(labels), int.from_bytes(query[end : end + 2], "big")


def _end_of_name(query: bytes) -> int:
    place = 12
    while query[place]:
        place += 1 + query[place]
    return place + 1
