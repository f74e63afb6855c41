from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch
from conftest import small_config
from transformers import AutoModelForSequenceClassification

from kdnas.measure import InTorch, LatencySettings, count_macs, count_params, measure_latency


def model(**shape: int):  # noqa: ANN201
    config = small_config(**shape)
    return AutoModelForSequenceClassification.from_config(config).eval()


def test_golden_counts_of_a_bert_layer_stack() -> None:
    small = model(num_hidden_layers=2)
    hidden, neurons, length = 32, 64, 10
    layer = length * (4 * hidden**2 + 2 * hidden * neurons) + 2 * length**2 * hidden
    assert count_macs(small, length) == 2 * layer + hidden**2 + 2 * hidden
    tables = (200 + 70 + 2) * hidden + 2 * hidden
    weights = 4 * (hidden**2 + hidden) + 2 * hidden * neurons + neurons + hidden + 4 * hidden
    assert count_params(small) == tables + 2 * weights + hidden**2 + hidden + 2 * hidden + 2


def test_counting_leaves_the_attention_as_it_was() -> None:
    small = model()
    before = small.config._attn_implementation
    count_macs(small, 8)
    assert small.config._attn_implementation == before


def test_albert_shares_its_layers() -> None:
    def albert(depth: int):  # noqa: ANN202
        config = small_config("albert", num_hidden_layers=depth)
        return AutoModelForSequenceClassification.from_config(config)

    assert count_params(albert(1)) == count_params(albert(3))
    assert count_macs(albert(3), 16) > 2 * count_macs(albert(1), 16)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_a_model_is_about_as_fast_as_itself_and_a_smaller_one_faster() -> None:
    """By the processor time of the one thread: however long it waits for others, it is the same."""
    torch.manual_seed(0)
    large = model(hidden_size=128, intermediate_size=512, num_hidden_layers=6)
    small = model(hidden_size=128, intermediate_size=512, num_hidden_layers=1)
    settings = LatencySettings(1, 64, 15)
    same = measure_latency(InTorch(large), InTorch(large), settings, time.thread_time)
    assert same.speedup == pytest.approx(1.0, abs=0.35)
    faster = measure_latency(InTorch(small), InTorch(large), settings, time.thread_time)
    assert faster.speedup > 2
    assert faster.student_ms > 0 and faster.student_iqr_ms >= 0
