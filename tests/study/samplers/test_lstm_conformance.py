"""Optuna's own conformance suite, run on the controller."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

from kdnas.study.samplers import LSTMControllerSampler


class TestLSTMControllerSampler(
    BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return LSTMControllerSampler


class TestLSTMControllerSamplerInShortStudies(
    RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    """With a plan this short, the controller proposes from the third trial on."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: LSTMControllerSampler(seed=0, n_trials=3)
