"""The offer of the extension in metadata."""

from __future__ import annotations

import pytest

from konnectivity.capabilities import EXTENSION, Capabilities
from konnectivity.grpc.metadata import Metadata


def test_there_and_back():
    assert Capabilities.of(Metadata(Capabilities(65536).header().items())) == Capabilities(65536)


@pytest.mark.parametrize(
    "value",
    ["", "2; window=65536", "1", "1; window=", "1; window=-5", "1; window=0", "1; window=99999999999", "1; window=x"],
)
def test_an_offer_we_do_not_understand_is_none(value):
    assert Capabilities.of(Metadata([(EXTENSION, value)])) is None


def test_unknown_parameters_are_ignored_and_two_offers_are_none():
    assert Capabilities.of(Metadata([(EXTENSION, "1; window=10; colour=red")])) == Capabilities(10)
    assert Capabilities.of(Metadata([(EXTENSION, "1; window=10"), (EXTENSION, "1; window=20")])) is None
