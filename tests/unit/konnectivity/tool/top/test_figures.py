"""Numbers in few characters."""

from __future__ import annotations

import pytest

from konnectivity.tool.top import figures


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (512, "512B"), (1000, "1.0K"), (1536, "1.5K"), (150 * 1024, "150K"), (5 << 40, "5.0T")],
)
def test_sizes(value, text):
    assert figures.size(value) == text


def test_random_ids_are_shortened_and_others_are_not():
    assert figures.name("c849a3f3-a794-444e-885e-953faa1950fb") == "c849a3f3"
    assert figures.name("c849a3f3-a794-444e-885e-953faa1950fb-1") == "c849a3f3-1"
    assert figures.name("ip-10-0-0-7.eu-west-1.compute.internal") == "ip-10-0-0-7.eu-west-1.compute.internal"


def test_a_size_beyond_all_units():
    assert figures.size(5 << 60) == "5242880T"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.25, "0.2s"), (59.9, "59s"), (185, "3m05s"), (7800, "2h10m"), (443_000, "5d03h")],
)
def test_seconds(value, text):
    assert figures.seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0.0003, "0.3ms"), (0.012, "12ms"), (1.25, "1.2s")])
def test_milliseconds(value, text):
    assert figures.milliseconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0, "0"), (0.4, "0.4"), (12.4, "12")])
def test_rates(value, text):
    assert figures.rate(value) == text


def test_a_plot_is_as_wide_as_it_is_told_and_ends_with_now():
    assert figures.plot([9, 0, 4, 8], 3) == "▁▅█"
    assert figures.plot([0, 0], 4) == "  ▁▁"
    assert figures.plot([], 4) == "    "
