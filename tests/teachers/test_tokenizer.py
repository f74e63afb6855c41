from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import small_tokenizer
from support.tiny_pairs import tiny_pair
from support.tiny_writers import UNKNOWN, WORDS, writers_tokenizer
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    pipeline,
)

from kdnas.distillation.training import predict
from kdnas.errors import KdnasError
from kdnas.runtime.device import Runtime
from kdnas.students.checkpoint import student_artifact
from kdnas.tasks import Examples, encode, load_spec
from kdnas.teachers.load import load_parts, load_teacher

TEXTS = ["good", "the bad cat sees the dull dog", "the slow river sells the quick bank " * 3]


@pytest.fixture
def shipped(tmp_path: Path) -> Callable[..., Path]:
    """Ships a teacher's own weights as a student, with its tokenizer as kdnas uses it."""

    def ship(source: Path) -> Path:
        teacher = load_teacher(str(source), load_spec("sst2"))
        student_artifact(tmp_path / "student", {}, teacher.tokenizer).write(teacher.model)
        return tmp_path / "student"

    return ship


def save_tokenizer(folder: Path, without: tuple[str, ...] = (), **changes: Any) -> None:
    """Saves a tokenizer with other attributes, and its config without some."""
    tokenizer = small_tokenizer()
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    kept = {k: v for k, v in json.loads(file.read_text()).items() if k not in without}
    file.write_text(json.dumps(kept))


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize("without", [(), ("pad_token", "model_max_length")])
def test_plain_transformers_gives_the_logits_that_kdnas_scored(
    family: str,
    without: tuple[str, ...],
    make_teacher: Callable[..., Path],
    shipped: Callable[[Path], Path],
    runtime: Runtime,
) -> None:
    folder = make_teacher(family)
    save_tokenizer(folder, without, padding_side="left")
    student = shipped(folder)
    teacher = load_teacher(str(student), load_spec("sst2"))
    data = encode(Examples(TEXTS), teacher.tokenizer, 60)
    ours = predict(teacher.model, data, runtime, pad_id=teacher.pad_id)

    tokenizer = AutoTokenizer.from_pretrained(student)
    model = AutoModelForSequenceClassification.from_pretrained(student)
    with torch.inference_mode():
        theirs = model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_a_pipeline_cuts_texts_of_any_length(
    family: str, make_teacher: Callable[..., Path], shipped: Callable[[Path], Path]
) -> None:
    folder = make_teacher(family)
    save_tokenizer(folder, ("model_max_length",))
    student = str(shipped(folder))
    label = pipeline("text-classification", student, tokenizer=student, device="cpu")
    assert label("the good cat " * 400, truncation=True)[0]["score"] > 0


def test_tokens_that_were_added_to_the_tokenizer_alone_are_read_as_unknown(
    make_teacher: Callable[..., Path],
    shipped: Callable[[Path], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = make_teacher("bert", vocab_size=len(small_tokenizer()))
    tokenizer = small_tokenizer()
    tokenizer.add_tokens(["[URL]", "[USER]"])
    tokenizer.save_pretrained(folder)
    config, _ = load_parts(str(folder))
    assert config.vocab_size == len(tokenizer)
    assert "has 2 tokens without an embedding in the model" in capsys.readouterr().out
    student = shipped(folder)
    model = AutoModelForSequenceClassification.from_pretrained(student)
    own = AutoTokenizer.from_pretrained(student)
    with torch.inference_mode():
        new, unknown = (model(**own(t, return_tensors="pt")).logits for t in ("[USER] a", "é a"))
    torch.testing.assert_close(new, unknown)


def test_a_tokenizer_of_another_model_is_refused(make_teacher: Callable[..., Path]) -> None:
    folder = make_teacher("bert", vocab_size=30)
    with pytest.raises(KdnasError, match=r"tokens up to \d+, but the model's vocab_size is 30; gi"):
        load_parts(str(folder))


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("bart", {}),
        ("marian", {"share_encoder_decoder_embeddings": False}),
        ("t5", {"tie_word_embeddings": False}),
        ("encoder-decoder", {}),
        ("encoder-decoder", {"inner": "roberta"}),
    ],
)
@torch.no_grad()
def test_both_stacks_and_the_head_know_tokens_that_were_added_to_the_tokenizer(
    family: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    whole = tiny_pair(family, vocab_size=WORDS, **changes)
    whole.save_pretrained(tmp_path / "old")
    tokenizer = writers_tokenizer()
    tokenizer.add_tokens(["[URL]"])
    tokenizer.save_pretrained(tmp_path / "old")
    config, _ = load_parts(str(tmp_path / "old"))
    teacher = load_teacher(str(tmp_path / "old"), None)
    planned = AutoModelForSeq2SeqLM.from_config(config).state_dict()
    assert {k: v.shape for k, v in planned.items()} == {
        k: v.shape for k, v in teacher.model.state_dict().items()
    }
    student_artifact(tmp_path / "new", {}, teacher.tokenizer).write(teacher.model)
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "new").eval()
    ids = {token: torch.tensor([[5, token, 7]]) for token in (WORDS, UNKNOWN)}
    new, unknown = (model(input_ids=i, decoder_input_ids=i).logits for i in ids.values())
    expected = whole(input_ids=ids[UNKNOWN], decoder_input_ids=ids[UNKNOWN]).logits
    torch.testing.assert_close(unknown[..., :WORDS], expected)
    torch.testing.assert_close(new, unknown)
    torch.testing.assert_close(new[..., WORDS], new[..., UNKNOWN])
