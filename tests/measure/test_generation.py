"""What a model with a decoder costs: both stacks, and every token that it writes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.tiny_pairs import PAD, VOCABULARY, pair_data, tiny_pair

from kdnas.distillation.generation import beam_search, generate, seconds_a_row
from kdnas.measure import InTorch, LatencySettings, count_macs, measure_latency
from kdnas.measure.latency import generates
from kdnas.runtime.device import Runtime
from kdnas.tasks.sequences.generate import writing_by
from kdnas.tasks.sequences.greedy import greedy_config, greedy_rules


@pytest.mark.parametrize("model_type", ["mbart", "marian", "t5", "encoder-decoder"])
def test_one_pass_of_the_encoder_and_one_step_a_token(model_type: str) -> None:
    model = tiny_pair(model_type)
    seen: dict[str, list[int]] = {"encoder": [], "decoder": []}

    def hear(side: str, _: torch.nn.Module, args: Any, given: dict[str, Any]) -> None:
        ids = given.get("input_ids", args[0] if args else None)
        seen[side].append(ids.shape[1])

    for side, heard in seen.items():
        part = model.get_encoder() if side == "encoder" else model.get_decoder()
        part.register_forward_pre_hook(
            lambda m, a, k, side=side: hear(side, m, a, k), with_kwargs=True
        )
        assert not heard
    InTorch(model, new_tokens=5).ready(1, 12)()
    assert seen == {"encoder": [12], "decoder": [1] * 5}


def test_latency_is_that_of_generation() -> None:
    model = tiny_pair("bart")
    latency = measure_latency(
        InTorch(model, 2), InTorch(model, 12), LatencySettings(1, 8, 3, quiet=False)
    )
    assert latency.speedup > 1.5


@pytest.mark.parametrize(
    "settings",
    [{"num_beams": 3}, {"do_sample": True}, {"do_sample": True, "return_dict_in_generate": True}],
)
def test_of_several_returned_sequences_one_is_written(
    settings: dict[str, Any], runtime: Runtime
) -> None:
    model = tiny_pair("bart")
    model.generation_config.update(num_return_sequences=3, max_new_tokens=4, **settings)
    InTorch(model, 2).ready(2, 8)()
    data = pair_data(examples=3)
    assert seconds_a_row(model, data, runtime, PAD) > 0
    greedily = writing_by(model, greedy_config(greedy_rules(model, 4)[0]))
    for way in (greedily, beam_search(model, 2)):
        with way:
            assert len(generate(model, data, runtime, pad_id=PAD)) == len(data)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_beams": 3, "penalty_alpha": 0.6, "top_k": 4},
        {"num_beams": 3, "dola_layers": "high"},
        {"num_beams": 3, "prompt_lookup_num_tokens": 3},
        {"do_sample": True, "penalty_alpha": 0.6},
    ],
)
def test_what_has_no_effect_in_a_generation_config_has_none_on_its_timing(
    settings: dict[str, Any],
) -> None:
    model, steps = tiny_pair("bart"), []
    model.generation_config.update(**settings)
    own = model.generation_config
    before = own.to_dict()
    model.get_decoder().register_forward_hook(lambda *_: steps.append(1))
    InTorch(model, 5).ready(1, 8)()
    assert len(steps) == 5
    assert model.generation_config is own and own.to_dict() == before


def test_macs_are_those_of_both_stacks_and_the_head() -> None:
    model, length, new = tiny_pair("bart"), 11, 7
    width, neurons = 32, 64
    encoder = length * (4 * width**2 + 2 * width * neurons) + 2 * length**2 * width
    own = new * (4 * width**2 + 2 * width * neurons) + 2 * new**2 * width
    cross = 2 * width**2 * (new + length) + 2 * new * length * width
    expected = 4 * encoder + 3 * (own + cross) + new * width * VOCABULARY
    assert count_macs(model, length, new) == expected


def test_encoders_are_run_once() -> None:
    assert not generates(tiny_pair("encoder-decoder").get_encoder())
