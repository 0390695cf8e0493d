"""File of the audit log: one JSON object per line, written by a thread of its own (docs/secure/audit.md).

A disk that is slow or full never delays a tunnel: lines beyond the queue are dropped and counted, and the next line
that can be written is followed by a line with their number.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Protocol

from konnectivity.errors import StartError
from konnectivity.grpc.message_stream import Peer
from konnectivity.runtime.logs.log_outputs import LogFile, Sink, sink_of
from konnectivity.runtime.logs.log_writer import Writer
from konnectivity.untrusted.untrusted_text import cut
from konnectivity_server.audit.audit_records import VERSION, DialRecord, Record, Write

STANDARD_OUTPUT = "-"
FILE_MODE = 0o600


class DialRecorder(Protocol):
    """Maker of the audit records of dials."""

    @property
    def lines(self) -> int:
        """Number of lines that were handed to the writer."""

    @property
    def dropped(self) -> int:
        """Number of lines that could not be written."""

    def record(self, destination: str, protocol: str, client: Peer, relayed: bool, asked_for: str = "") -> DialRecord:
        """Return the record of a dial that begins."""


class AuditLog:
    """Audit log of one server: makes the record of each dial and writes it.

    Args:
        path: path of the file; `-`: standard output.
        server_id: id of this server.

    Raises:
        StartError: the file cannot be opened.

    """

    def __init__(self, path: str, server_id: str) -> None:
        self.lines = 0  # handed to the writer
        self._running: dict[DialRecord, None] = {}  # in the order of their dials
        self._writer = _Writer([(logging.NOTSET, _sink(path))])
        self._writer.setFormatter(_Lines(server_id))

    @property
    def dropped(self) -> int:
        """Number of lines that could not be written."""
        return self._writer.dropped

    def record(
        self,
        destination: str,
        protocol: str,
        client: Peer,
        relayed: bool,
        asked_for: str = "",
        write: Write | None = None,
    ) -> DialRecord:
        """Return the record of a dial that begins."""
        return DialRecord(
            write or self.write,
            self._running,
            monotonic,
            secrets.token_hex(8),
            destination,
            protocol,
            client,
            relayed,
            asked_for,
        )

    def of_tenant(self, name: str) -> TenantAudit:
        """Return the part of this log that records the dials of one tenant."""
        return TenantAudit(self, name)

    def write(self, record: Record) -> None:
        """Write a record."""
        self.lines += 1
        self._writer.emit(_record(record))

    def close(self) -> None:
        """Record the end of the open connections, and write the lines that wait, within a bounded time."""
        for record in list(self._running):
            record.cut("the server is shutting down")
        self._writer.close()


class TenantAudit:
    """Part of an audit log that records the dials of one tenant, each with the tenant's name."""

    def __init__(self, whole: AuditLog, name: str) -> None:
        self._whole = whole
        self._name = name

    @property
    def lines(self) -> int:
        """Number of lines of the whole log that were handed to the writer."""
        return self._whole.lines

    @property
    def dropped(self) -> int:
        """Number of lines of the whole log that could not be written."""
        return self._whole.dropped

    def record(self, destination: str, protocol: str, client: Peer, relayed: bool, asked_for: str = "") -> DialRecord:
        """Return the record of a dial that begins."""
        return self._whole.record(destination, protocol, client, relayed, asked_for, self._write)

    def _write(self, record: Record) -> None:
        self._whole.write({"event": record["event"], "tenant": self._name, **record})


class _Writer(Writer):
    """Writer that reports after each loss the number of lines that are lost so far, even if it is one."""

    def _notice_due(self, told: int) -> bool:
        return self.dropped > told

    def _notice(self) -> str:
        return self.format(_record({"event": "dropped", "lines": self.dropped})) + "\n"


class _Lines(logging.Formatter):
    """Formatter of one JSON object per line."""

    def __init__(self, server_id: str) -> None:
        super().__init__()
        self._server_id = server_id

    def format(self, record: logging.LogRecord) -> str:
        """Return the fields of a record as JSON, behind the format's version, the time and the server's id."""
        fields: Mapping[str, Any] = record.__dict__["fields"]
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        stamp = {"version": VERSION, "time": time.replace("+00:00", "Z"), "server": self._server_id}
        return json.dumps({**stamp, **_bounded(fields)})


def _bounded(fields: Mapping[str, Any]) -> Record:
    """Return the fields with each text cut to the length of a text in a packet, so that a line has a maximum length."""
    return {name: _bounded_value(value) for name, value in fields.items()}


def _bounded_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _bounded(value)
    return cut(value) if isinstance(value, str) else value


def _record(fields: Record) -> logging.LogRecord:
    record = logging.LogRecord(__name__, logging.INFO, __file__, 0, "", None, None)
    record.__dict__["fields"] = fields
    return record


def _sink(path: str) -> Sink:
    if path == STANDARD_OUTPUT:
        return sink_of(sys.stdout)
    try:
        return LogFile(path, mode=FILE_MODE)
    except OSError as error:
        raise StartError(f"--audit-log: cannot open {path!r}: {error.strerror}") from error
