"""Offer of the extension in metadata."""

from __future__ import annotations

import pytest

from konnectivity.grpc.metadata import Metadata
from konnectivity.tunnel.extension import EXTENSION, Extension


def test_there_and_back():
    assert Extension.of(Metadata(Extension(65536).header().items())) == Extension(65536)


@pytest.mark.parametrize(
    "value",
    ["", "2; window=65536", "1", "1; window=", "1; window=-5", "1; window=0", "1; window=99999999999", "1; window=x"],
)
def test_an_offer_we_do_not_understand_is_none(value):
    assert Extension.of(Metadata([(EXTENSION, value)])) is None


def test_unknown_parameters_are_ignored_and_two_offers_are_none():
    assert Extension.of(Metadata([(EXTENSION, "1; window=10; colour=red")])) == Extension(10)
    assert Extension.of(Metadata([(EXTENSION, "1; window=10"), (EXTENSION, "1; window=20")])) is None


def test_an_offer_is_answered_with_an_offer_and_no_offer_with_nothing():
    own = Extension(65536, "word")
    assert own.answer(Metadata(Extension(1000).header().items())) == (Extension(1000), own.header())
    assert own.answer(Metadata([])) == (None, {})
