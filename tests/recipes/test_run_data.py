"""How long the inputs of a run may be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from conftest import small_config
from support.tiny_pairs import pair_config

from kdnas.config import Settings
from kdnas.distillation.batches import padded
from kdnas.errors import KdnasError
from kdnas.recipes.run_data import encode_options, input_length
from kdnas.tasks import TASK_TYPES
from kdnas.teachers.tokenizer import longest_input, longest_target


@pytest.mark.parametrize(
    ("model_type", "positions", "tokenizer", "length"),
    [
        ("bert", 512, 512, 128),
        ("bert", 50, 10**30, 48),  # a batch of 50 would be padded to 64
        ("bert", 50, 20, 20),
        ("roberta", 514, 512, 128),
        ("roberta", 66, 64, 64),
        ("roberta", 60, 64, 48),
    ],
)
def test_inputs_fit_the_position_table_when_they_are_padded(
    model_type: str, positions: int, tokenizer: int, length: int
) -> None:
    config = small_config(model_type, max_position_embeddings=positions, pad_token_id=1)
    found = input_length(Settings(), SimpleNamespace(model_max_length=tokenizer), config)
    assert found == length and padded(found) <= longest_input(config)


def test_a_length_beyond_the_teachers_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    config = small_config("bert", max_position_embeddings=512)
    tokenizer = SimpleNamespace(model_max_length=10**30)
    assert input_length(Settings(max_length=16), tokenizer, config) == 16
    assert not capsys.readouterr().out
    assert input_length(Settings(max_length=65_536), tokenizer, config) == 512
    told = "--max-length is 65,536; inputs are cut at 512 tokens, as far as the"
    assert capsys.readouterr().out.startswith(told)


def test_a_model_that_reads_next_to_nothing_is_refused() -> None:
    config = small_config("bert", max_position_embeddings=10)
    with pytest.raises(KdnasError, match="reads 10 tokens at most; give one that reads 16"):
        input_length(Settings(), SimpleNamespace(model_max_length=512), config)


PAIRS = TASK_TYPES["sequence-to-sequence"]


@pytest.mark.parametrize(
    ("model_type", "changes", "positions", "length"),
    [
        ("bart", {"max_position_embeddings": 1024}, 1024, 128),
        ("bart", {"max_position_embeddings": 50}, 50, 48),  # a batch of 50 would be padded to 56
        ("encoder-decoder", {}, 50, 48),
        ("encoder-decoder", {"inner": "roberta"}, 48, 48),  # positions from the padding id on
        ("t5", {}, 65_536, 128),
    ],
)
def test_targets_fit_the_decoders_positions(
    model_type: str, changes: dict[str, Any], positions: int, length: int
) -> None:
    config = pair_config(model_type, **changes)
    assert longest_target(config) == longest_input(config) == positions
    found = encode_options(Settings(), PAIRS, config)
    assert found["max_target_length"] == length


def test_a_target_length_beyond_the_decoders_is_refused() -> None:
    config = pair_config("bart")
    found = encode_options(Settings(max_target_length=40), PAIRS, config)
    assert found["max_target_length"] == 40
    with pytest.raises(KdnasError, match="invalid --max-target-length 51: the decoder has "
                       "50 positions; give at most 50"):  # fmt: skip
        encode_options(Settings(max_target_length=51), PAIRS, config)
