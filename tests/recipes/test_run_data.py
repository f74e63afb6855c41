"""How long the inputs of a run may be."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from conftest import small_config

from kdnas.config import Settings
from kdnas.distillation.batches import padded
from kdnas.errors import KdnasError
from kdnas.recipes.run_data import input_length
from kdnas.teachers.tokenizer import longest_input


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
