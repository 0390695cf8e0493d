"""SETTINGS of one side (RFC 9113 section 6.5): initial values, ranges, and the effect of a received frame. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from konnectivity.http2.frames import (
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    MAX_FRAME_SIZE,
    MAX_WINDOW,
    ConnectionFault,
    ErrorCode,
)

HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH = 0x2
MAX_CONCURRENT_STREAMS = 0x3
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE_ID = 0x5
MAX_HEADER_LIST_SIZE = 0x6

UNLIMITED = 2**32 - 1


@dataclass(slots=True)
class Settings:
    """Settings of one side, at first the initial values of the RFC (section 6.5.2). Sizes are in bytes."""

    header_table_size: int = 4096
    enable_push: int = 1
    max_concurrent_streams: int = UNLIMITED
    initial_window_size: int = DEFAULT_WINDOW
    max_frame_size: int = DEFAULT_FRAME_SIZE
    max_header_list_size: int = UNLIMITED

    def changes(self) -> dict[int, int]:
        """Return the values that are not initial ones, by identifier: the content of this side's SETTINGS frame."""
        initial = Settings()
        return {
            key: getattr(self, name) for key, name in _NAMES.items() if getattr(self, name) != getattr(initial, name)
        }

    def apply(self, key: int, value: int) -> None:
        """Apply one received parameter. Unknown identifiers are ignored (section 6.5.2).

        Raises:
            ConnectionFault: the value is out of the range the RFC allows.

        """
        if key == ENABLE_PUSH and value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH is {value}, not 0 or 1")
        if key == INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"SETTINGS_INITIAL_WINDOW_SIZE is {value}")
        if key == MAX_FRAME_SIZE_ID and not DEFAULT_FRAME_SIZE <= value <= MAX_FRAME_SIZE:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE is {value}")
        name = _NAMES.get(key)
        if name is not None:
            setattr(self, name, value)


_NAMES = {
    HEADER_TABLE_SIZE: "header_table_size",
    ENABLE_PUSH: "enable_push",
    MAX_CONCURRENT_STREAMS: "max_concurrent_streams",
    INITIAL_WINDOW_SIZE: "initial_window_size",
    MAX_FRAME_SIZE_ID: "max_frame_size",
    MAX_HEADER_LIST_SIZE: "max_header_list_size",
}
