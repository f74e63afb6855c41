"""What a saved student's tokenizer gives: all that its model takes in plain transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.tiny_pairs import tiny_pair
from support.tiny_tokenizers import word_pieces
from support.tiny_writers import writers_config
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from kdnas.students.checkpoint import student_artifact

NAMES = ["input_ids", "token_type_ids", "attention_mask"]


@pytest.mark.parametrize("model_type", ["bart", "marian"])
def test_a_writer_gets_no_token_types(model_type: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, tokenizer = AutoModelForSeq2SeqLM.from_config(writers_config(model_type)), word_pieces()
    assert tokenizer.model_input_names == NAMES
    student_artifact(tmp_path / "student", {}, tokenizer).write(model)
    inputs = AutoTokenizer.from_pretrained(tmp_path / "student")(["the cat"], return_tensors="pt")
    inputs["input_ids"] %= model.config.vocab_size
    plain = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "student")
    assert len(plain.generate(**inputs, max_new_tokens=2)) == 1
    assert tokenizer.model_input_names == NAMES, "the teacher's stays"


@pytest.mark.parametrize(("model_type", "given"), [("distilbert", False), ("bert", True)])
def test_an_encoder_gets_the_token_types_that_it_reads(
    model_type: str, given: bool, tmp_path: Path
) -> None:
    tokenizer = word_pieces()
    sizes = {"hidden_size": 16, "intermediate_size": 16, "dim": 16, "hidden_dim": 16}
    heads = {"n_layers": 1, "n_heads": 2, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model(model_type, vocab_size=len(tokenizer), **sizes, **heads)
    model = AutoModelForSequenceClassification.from_config(config)
    student_artifact(tmp_path / "student", {}, tokenizer).write(model)
    inputs = AutoTokenizer.from_pretrained(tmp_path / "student")(["the cat"], return_tensors="pt")
    assert ("token_type_ids" in inputs) is given
    assert AutoModel.from_pretrained(tmp_path / "student")(**inputs).last_hidden_state is not None


def test_two_models_in_one_get_the_token_types_that_the_encoder_reads(tmp_path: Path) -> None:
    student_artifact(tmp_path / "student", {}, word_pieces()).write(tiny_pair("encoder-decoder"))
    assert "token_type_ids" in AutoTokenizer.from_pretrained(tmp_path / "student")("the cat")
