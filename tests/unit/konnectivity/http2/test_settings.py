"""SETTINGS of one side: the values that are announced, and those taken from a frame."""

from __future__ import annotations

import pytest

from konnectivity.http2 import Settings
from konnectivity.http2.frames import ConnectionFault
from konnectivity.http2.settings import UNLIMITED


def test_only_what_differs_is_announced() -> None:
    assert Settings().changes() == {}
    changed = Settings(
        header_table_size=1,
        enable_push=0,
        max_concurrent_streams=3,
        initial_window_size=4,
        max_frame_size=16_385,
        max_header_list_size=6,
    )
    assert changed.changes() == {1: 1, 2: 0, 3: 3, 4: 4, 5: 16_385, 6: 6}


def test_what_is_announced_is_understood() -> None:
    said = Settings(enable_push=0, max_concurrent_streams=3, initial_window_size=0, max_frame_size=2**24 - 1)
    heard = Settings()
    for key, value in said.changes().items():
        heard.apply(key, value)
    assert heard == said


def test_unknown_identifiers_are_ignored() -> None:
    settings = Settings()
    settings.apply(0x0, 1)
    settings.apply(0x8, 1)
    assert settings == Settings()


@pytest.mark.parametrize(
    ("key", "value"),
    [(0x1, 2**32 - 1), (0x2, 1), (0x3, 0), (0x4, 2**31 - 1), (0x5, 16_384), (0x5, 2**24 - 1), (0x6, UNLIMITED)],
)
def test_the_edges_are_allowed(key: int, value: int) -> None:
    settings = Settings()
    settings.apply(key, value)
    assert settings.changes() == ({} if (value in (16_384, UNLIMITED) and key != 0x1) or key == 0x2 else {key: value})


@pytest.mark.parametrize(("key", "value"), [(0x2, 2), (0x4, 2**31), (0x5, 16_383), (0x5, 2**24)])
def test_what_is_beyond_is_not(key: int, value: int) -> None:
    settings = Settings()
    with pytest.raises(ConnectionFault):
        settings.apply(key, value)
    assert settings == Settings()
