"""The code in an export's README, for tokenizers of every kind, and what it needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK, small_config, small_tokenizer
from transformers import AutoModelForSequenceClassification, PhobertTokenizer

from kdnas import predict
from kdnas.config import Settings
from kdnas.exporting.export import export
from kdnas.exporting.readme import packages_of
from kdnas.runs.run_folder import dump
from kdnas.students.checkpoint import student_artifact
from kdnas.tasks import TASK_TYPES

TEXTS = ["the good cat likes the bank", "the dull film " * 50, "ein Wort", "a bad bank " * 40]
CLASSES = {0: "negative", 1: "neither", 2: "positive"}


def exported(
    folder: Path, tokenizer: Any, texts: list[str], model_type: str, **changes: Any
) -> Path:
    """An exported student that nobody trained, of a run that reads 64 tokens; texts differ for it.

    Its checkpoint is beside it, as in a run.
    """
    torch.manual_seed(0)
    config = small_config(model_type, id2label=CLASSES, **changes)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(3)
        read = tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
        bias = -model.eval()(
            **{name: read[name] for name in ("input_ids", "attention_mask")}
        ).logits
        list(model.classifier.parameters())[-1].copy_(
            bias.mean(0)
        )  # a median would be one text's own: a tie
    student_artifact(folder / "student", {"trial": 1}, tokenizer).write(model)
    settings = Settings(task="sst2", data_dir=folder, max_length=64, **QUICK)
    (folder / "config.yaml").write_text(dump(settings))
    return Path(export(folder, "onnx", timing=False)["folder"])


def printed(
    folder: Path, texts: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    """What the README's code prints in its folder."""
    [code] = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    capsys.readouterr()
    exec(re.sub(r"texts = .*", f"texts = {texts!r}", code), {})
    return capsys.readouterr().out.strip()


def slow_tokenizer(folder: Path) -> Any:
    """PhoBERT's, of letters and two pairs of them."""
    (folder / "vocab.txt").write_text("".join(f"{a}@@ 1\n{a} 1\n" for a in "abcdefghiklmnorstuvw"))
    (folder / "bpe.codes").write_text("t h 5\n")
    files = (folder / "vocab.txt", folder / "bpe.codes")
    return PhobertTokenizer(*map(str, files), model_max_length=64)


def test_without_a_tokenizer_json_the_code_takes_that_of_transformers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = slow_tokenizer(tmp_path)
    folder = exported(tmp_path / "run", tokenizer, TEXTS, "roberta", pad_token_id=1)
    assert not (folder / "tokenizer.json").exists()
    assert (
        "`onnxruntime`, `transformers` and `numpy`\nare enough"
        in (folder / "README.md").read_text()
    )
    student = tmp_path / "run" / "student"
    wanted = [one["label"] for one in predict(student, TEXTS)]
    assert printed(folder, TEXTS, capsys, monkeypatch) == repr(wanted)
    assert len(set(wanted)) > 1
    wanted = [one["label"] for one in predict(student, TEXTS, pairs=TEXTS[::-1])]
    pairs = list(zip(TEXTS, TEXTS[::-1], strict=True))
    assert printed(folder, pairs, capsys, monkeypatch) == repr(wanted)


def test_texts_are_cut_on_the_tokenizers_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = small_tokenizer(truncation_side="left")
    texts = ["the dull film " * 40 + end * 20 for end in ("cat ", "slow city ", "bank ", "bad ")]
    folder = exported(tmp_path / "run", tokenizer, texts, "bert")
    wanted = [one["label"] for one in predict(tmp_path / "run", texts)]
    assert printed(folder, texts, capsys, monkeypatch) == repr(wanted)
    assert len(set(wanted)) > 1


def test_marian_needs_sentencepiece(tmp_path: Path) -> None:
    task, usual = TASK_TYPES["sequence-to-sequence"], ["onnxruntime", "transformers", "numpy"]
    (tmp_path / "source.spm").touch()
    assert packages_of(tmp_path, task) == [*usual, "sentencepiece"]
    assert packages_of(tmp_path, TASK_TYPES["regression"]) == [*usual, "sentencepiece"]
    (tmp_path / "tokenizer.json").touch()
    assert packages_of(tmp_path, task) == usual
    fast = ["onnxruntime", "tokenizers", "numpy"]
    assert packages_of(tmp_path, TASK_TYPES["regression"]) == fast
