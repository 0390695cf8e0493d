"""Fuzz tests of a second or two for each target: the corpus, unchanged and mutated. `make fuzz` runs longer."""

from __future__ import annotations

import pytest
from fuzz_inputs import fuzz, run
from fuzz_targets import CORPUS, TARGETS, seeds

EXAMPLES = 120
pytestmark = pytest.mark.timeout(400)  # a failing input is minimized first


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert all(len(seed) < 4000 for name in TARGETS for seed in seeds(name))


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus(name: str) -> None:
    for seed in seeds(name):
        run(name, seed)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_near_the_corpus(name: str) -> None:
    fuzz(name, EXAMPLES)
