"""How many texts a model writes at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_pairs import PAD, VARIANTS, pair_data, tiny_pair
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedModel

from kdnas.distillation import generation
from kdnas.distillation.generation import generate, writable_rows, written_batches
from kdnas.runtime.device import Runtime

MBART = {"vocab_size": 250_054, "d_model": 1024, "decoder_layers": 12, "encoder_layers": 1}


def large(**writing: Any) -> PreTrainedModel:
    """An mBART-50 that takes no memory, with this in its generation config."""
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(
            AutoConfig.for_model("mbart", **MBART)
        )
    model.generation_config.update(**writing)
    return model


def test_golden_rows_of_a_large_model() -> None:
    """4 GB of keys and values, 1 GB of outputs."""
    assert writable_rows(large(max_length=200)) == 2**30 // (200 * 2 * 12 * 1024) == 218
    assert writable_rows(large(max_length=200, num_beams=5)) == 218 // 5
    assert writable_rows(large(max_new_tokens=8)) == 2**28 // 250_054 == 1073
    assert writable_rows(large(max_length=200, num_beams=300)) == 1


@pytest.mark.parametrize(("model_type", "changes"), VARIANTS)
def test_every_family_says_how_many_rows(model_type: str, changes: dict[str, Any]) -> None:
    assert writable_rows(tiny_pair(model_type, **dict(changes))) > 2048


@pytest.mark.parametrize(("beams", "few"), [(1, False), (2, False), (2, True)])
def test_a_batch_has_no_more_rows_than_the_model_has_room_for(
    beams: int, few: bool, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = tiny_pair("mbart"), pair_data()
    model.generation_config.update(max_new_tokens=6, num_beams=beams)
    roomy = generate(model, data, runtime, pad_id=PAD)
    monkeypatch.setattr(generation, "CACHED", 8 * 6 * 2 * 3 * 32)
    batches = list(written_batches(model, data, runtime, pad_id=PAD, few=few))
    assert max(len(indices) for indices, _ in batches) <= 8 // beams + 1
    assert sorted(np.concatenate([indices for indices, _ in batches])) == list(range(len(data)))
    for indices, ids in batches:
        for row, found in zip(indices, ids, strict=True):
            assert roomy[row, : len(found)].tolist() == found.tolist()
