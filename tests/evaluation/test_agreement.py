"""Every metric of every GLUE task, against plain transformers and formulas written out here."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from glue_layout import DEV, LAYOUT, SPLITS
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from kdnas.evaluation.evaluate import evaluate

HEADS = {  # a head may name the labels in another order, as many MNLI models do
    "mnli": ("contradiction", "entailment", "neutral"),
    "stsb": None,
}
METRICS = {
    **{"cola": ["mcc"], "mrpc": ["accuracy", "f1"], "qqp": ["accuracy", "f1"]},
    "stsb": ["pearson", "spearman", "mae"],
}


def rows_of(file: Path, task: str) -> tuple[list[list[str]], list[str]]:
    """Texts and labels of a file, cut at tabs."""
    lines = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()]
    if task == "cola":
        return [[cells[3]] for cells in lines], [cells[1] for cells in lines]
    return [cells[:-1] for cells in lines[1:]], [cells[-1] for cells in lines[1:]]


def plain_logits(model: Path, texts: list[list[str]]) -> torch.Tensor:
    """As run_glue.py computes them: fp32, cut at 128 tokens or what the tokenizer allows."""
    loaded = AutoModelForSequenceClassification.from_pretrained(model).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    length = min(128, tokenizer.model_max_length)
    outputs = []
    for start in range(0, len(texts), 8):
        columns = list(zip(*texts[start : start + 8], strict=True))
        batch = tokenizer(
            *map(list, columns),
            padding="max_length",
            truncation=True,
            max_length=length,
            return_tensors="pt",
        )
        with torch.no_grad():
            outputs.append(loaded(**batch).logits)
    return torch.cat(outputs)


def classes(model: Path, texts: list[list[str]], words: tuple[str, ...]) -> list[int]:
    """Predicted classes by their place among the words that the files use."""
    config = AutoModelForSequenceClassification.from_pretrained(model).config
    said = plain_logits(model, texts).argmax(1).tolist()
    names = [config.id2label[i] for i in said]
    return [words.index(n) if n in words else i for n, i in zip(names, said, strict=True)]


def pearson(xs: list[float], ys: list[float]) -> float:
    mx, my = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    over = math.fsum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True))
    return (
        over
        / math.sqrt(math.fsum((x - mx) ** 2 for x in xs))
        / math.sqrt(math.fsum((y - my) ** 2 for y in ys))
    )


def ranks(xs: list[float]) -> list[float]:
    """Equal values share the mean of their places."""
    return [sum(y < x for y in xs) + (sum(y == x for y in xs) + 1) / 2 for x in xs]


def counts(said: list[int], truth: list[int]) -> tuple[int, int, int, int]:
    """True positives, false positives, false negatives, true negatives of class 1."""
    pairs = list(zip(said, truth, strict=True))
    return tuple(pairs.count(pair) for pair in ((1, 1), (1, 0), (0, 1), (0, 0)))  # type: ignore


def own_metric(name: str, said: list, truth: list) -> float:
    if name == "pearson":
        return pearson(said, truth)
    if name == "spearman":
        return pearson(ranks(said), ranks(truth))
    if name == "mae":
        return math.fsum(abs(a - b) for a, b in zip(said, truth, strict=True)) / len(truth)
    if name == "accuracy":
        return sum(a == b for a, b in zip(said, truth, strict=True)) / len(truth)
    tp, fp, fn, tn = counts(said, truth)
    if name == "f1":
        return 2 * tp / (2 * tp + fp + fn)
    return (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


def check(task: str, model: Path, folder: Path) -> None:
    """kdnas's scores of a checkpoint against our own."""
    name, _, words = LAYOUT[task]
    result = evaluate(model, task, data_dir=folder, device="cpu", fine_tune=False)
    found = result["tasks"][task]["scores"]
    expected = {}
    for split in [s for s in SPLITS.get(task, {"dev": 0}) if s.startswith("dev")]:
        texts, labels = rows_of(folder / name / f"{split}.tsv", task)
        assert len(texts) >= DEV
        if words is None:
            said = plain_logits(model, texts).squeeze(1).tolist()
            truth: list[Any] = [float(label) for label in labels]
        else:
            said, truth = classes(model, texts, words), [words.index(label) for label in labels]
            assert len(set(said)) > 1, "the check would be empty"
        for metric in METRICS.get(task, ["accuracy"]):
            expected[metric + split.removeprefix("dev")] = own_metric(metric, said, truth)
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("task", LAYOUT)
def test_scores_are_those_of_an_independent_computation(
    task: str, glue_folder: Path, make_classifier: Callable[..., Path]
) -> None:
    check(task, make_classifier(HEADS.get(task, LAYOUT[task][2])), glue_folder)


def test_a_regressor_in_another_unit_is_scored_in_that_of_the_labels(
    glue_folder: Path,
    make_classifier: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Labels are four times what the head gives, and one more."""
    model, data = make_classifier(None), tmp_path / "STS-B"
    shutil.copytree(glue_folder / "STS-B", data)
    for name in ("train", "dev"):
        texts, _ = rows_of(data / f"{name}.tsv", "stsb")
        labels = (1 + 4 * plain_logits(model, texts)).squeeze(1).tolist()
        rows = ("\t".join([*pair, f"{x:.4f}"]) for pair, x in zip(texts, labels, strict=True))
        (data / f"{name}.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *rows]) + "\n")
    found = evaluate(model, "stsb", data_dir=tmp_path, predictions=tmp_path / "out")
    assert found["tasks"]["stsb"]["scores"]["mae"] < 0.01
    assert "on training rows a label is 4" in capsys.readouterr().out
    pairs = [line.split("\t")[1:] for line in (data / "test.tsv").read_text().splitlines()[1:]]
    expected = (1 + 4 * plain_logits(model, pairs)).squeeze(1).clamp(0, 5).tolist()
    lines = (tmp_path / "out" / "STS-B.tsv").read_text().splitlines()[1:]
    assert [float(line.split("\t")[1]) for line in lines] == pytest.approx(expected, abs=0.02)
    (data / "train.tsv").unlink()
    found = evaluate(model, "stsb", data_dir=tmp_path)
    assert found["tasks"]["stsb"]["scores"]["mae"] > 0.5
    assert "are taken to be in the unit of the labels: " in capsys.readouterr().out


@pytest.mark.slow
def test_likewise_for_a_real_model_on_real_rows(
    minilm: Path, shared_data: Path, tmp_path: Path
) -> None:
    """Sixty pairs of STS-B, read by a MiniLM with a head of noise."""
    lines = (shared_data / "STS-B" / "dev.tsv").read_text(encoding="utf-8").splitlines()[1:61]
    cells = [line.split("\t") for line in lines]
    text = "\n".join("\t".join(row[-3:]) for row in cells)
    (tmp_path / "STS-B").mkdir()
    (tmp_path / "STS-B" / "dev.tsv").write_text(f"sentence1\tsentence2\tscore\n{text}\n")
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(minilm, num_labels=1)
    model.save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(minilm).save_pretrained(tmp_path / "model")
    check("stsb", tmp_path / "model", tmp_path)
