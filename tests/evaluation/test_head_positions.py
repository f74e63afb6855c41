"""Heads whose outputs have no names of labels are taken in their order, and evaluate says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import small_config, small_tokenizer
from support.tiny import save_animals, save_mrpc, save_topics

from kdnas.config import Settings
from kdnas.evaluation.data import Subject, prepare
from kdnas.tasks import load_spec

OF_SEQUENCES, OF_WORDS = "BertForSequenceClassification", "BertForTokenClassification"
SAVERS = {"mrpc": save_mrpc, "animals": save_animals, "topics": save_topics}
ENTRIES: dict[str, dict[str, Any]] = {
    "animals": {"type": "token-classification"},
    "topics": {"type": "multi-label", "text": "text", "label": "topics"},
}
MULTI = "multi_label_classification"


def prepared(
    task: str, folder: Path, names: list[str], architecture: str, label_map: str | None = None
) -> Subject:
    """Of a checkpoint without weights, which nothing here reads."""
    problem = MULTI if task == "topics" else None
    config = small_config(architectures=[architecture], problem_type=problem)
    config.id2label = dict(enumerate(names))
    config.save_pretrained(folder / "model")
    small_tokenizer().save_pretrained(folder / "model")
    given = {"data_dir": SAVERS[task](folder), "label_map": label_map}
    spec = load_spec(task, ENTRIES)
    return prepare(str(folder / "model"), spec, Settings(task=task, **given), False)


@pytest.mark.parametrize(
    ("task", "architecture", "labels"),
    [
        ("mrpc", OF_SEQUENCES, ["not_equivalent", "equivalent"]),
        ("topics", OF_SEQUENCES, ["animal", "film", "praise"]),
        ("animals", OF_WORDS, ["O", "B-animal", "I-animal", "B-place"]),
    ],
)
def test_outputs_without_names_are_told(
    task: str,
    architecture: str,
    labels: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [f"LABEL_{i}" for i in range(len(labels))]
    prepared(task, tmp_path, names, architecture)
    told = [line for line in capsys.readouterr().out.splitlines() if "LABEL_0" in line]
    pairs = ", ".join(f"LABEL_{i} for {label}" for i, label in enumerate(labels[:3]))
    more = " and so on" if len(labels) > 3 else ""
    assert len(told) == 1 and told[0].endswith(
        f"do not have the names of the labels and are taken in their order, {pairs}{more}; "
        "--label-map gives another order"
    )


@pytest.mark.parametrize(
    ("names", "label_map"),
    [(["LABEL_0", "LABEL_1"], "1,0"), (["Equivalent", "not equivalent"], None)],
)
def test_outputs_that_are_known_are_not_told(
    names: list[str], label_map: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared("mrpc", tmp_path, names, OF_SEQUENCES, label_map)
    assert "--label-map" not in capsys.readouterr().out
