"""Optuna's own conformance suite, run on both models of the search space."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

from kdnas.study.samplers import LSTMs, SurrogateSampler


class TestSurrogateSampler(
    BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return SurrogateSampler


class TestSurrogateSamplerInShortStudies(RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    """With a plan this short, the model proposes from the third trial on."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: SurrogateSampler(seed=0, n_trials=3)


class TestSurrogateSamplerOfLSTMs(
    BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: SurrogateSampler(seed=0, predictor=LSTMs())
