"""Optuna's own conformance suite, run on the controller sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

from kdnas.search.samplers.lstm import LSTMControllerSampler


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class TestLSTMControllerSampler(
    BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return LSTMControllerSampler


class TestLSTMControllerSamplerInShortStudies(RelativeSamplerTestCase):
    """With a plan this short, the controller proposes from the third trial on."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: LSTMControllerSampler(seed=0, n_trials=3)
