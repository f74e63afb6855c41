"""The nine GLUE tasks in the layout of the official download, small, and checkpoints for them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import sentence, small_config, small_tokenizer
from transformers import AutoModelForSequenceClassification

DEV, TEST = 30, 5
PAIR = ("sentence1", "sentence2")
NLI = ("entailment", "not_entailment")
# Task: its folder, its text columns, how the files write its labels; None for scores.
LAYOUT: dict[str, tuple[str, tuple[str, ...], tuple[str, ...] | None]] = {
    "cola": ("CoLA", ("sentence",), ("0", "1")),
    "sst2": ("SST-2", ("sentence",), ("0", "1")),
    "mrpc": ("MRPC", ("#1 String", "#2 String"), ("0", "1")),
    "stsb": ("STS-B", PAIR, None),
    "qqp": ("QQP", ("question1", "question2"), ("0", "1")),
    "mnli": ("MNLI", PAIR, ("entailment", "neutral", "contradiction")),
    "qnli": ("QNLI", ("question", "sentence"), NLI),
    "rte": ("RTE", PAIR, NLI),
    "wnli": ("WNLI", PAIR, ("0", "1")),
}
LABEL = {"mrpc": "Quality", "stsb": "score", "qqp": "is_duplicate", "mnli": "gold_label"}
SPLITS = {
    "mnli": {
        **{"train": 24, "dev_matched": DEV, "dev_mismatched": DEV},
        **{"test_matched": TEST, "test_mismatched": TEST + 1},
    }
}


def write_task(parent: Path, task: str, rng: random.Random) -> None:
    """All files of a task; test files have an index and no label."""
    name, columns, labels = LAYOUT[task]
    (parent / name).mkdir(parents=True)
    for split, rows in SPLITS.get(task, {"train": 24, "dev": DEV, "test": TEST}).items():
        test = split.startswith("test")
        header = ["index", *columns] if test else [*columns, LABEL.get(task, "label")]
        bare = task == "cola" and not test  # other columns, and no header
        lines = [] if bare else ["\t".join(header)]
        for i in range(rows):
            texts = [sentence(rng) for _ in columns]
            if i == 3:
                texts[0] = " ".join([texts[0]] * 15)  # longer than the model reads
            label = rng.choice(labels) if labels else f"{rng.choice([0, 1.5, 2, 3.2, 5]):.3f}"
            cells = [str(i), *texts] if test else [*texts, label]
            lines.append("\t".join(["gj04", label, "", *texts] if bare else cells))
        (parent / name / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def glue_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all nine, and with the diagnostics."""
    folder, rng = tmp_path_factory.mktemp("nine"), random.Random(2)
    for task in LAYOUT:
        write_task(folder, task, rng)
    rows = [f"{i}\t{sentence(rng)}\t{sentence(rng)}" for i in range(TEST + 2)]
    (folder / "diagnostic").mkdir()
    text = "\n".join(["index\tsentence1\tsentence2", *rows])
    (folder / "diagnostic" / "diagnostic.tsv").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def make_classifier(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a small BERT with a head that says different things of different sentences."""

    def make(labels: tuple[str, ...] | None) -> Path:
        folder, count = tmp_path_factory.mktemp("classifier"), len(labels or [0])
        torch.manual_seed(1)
        config = small_config(num_labels=count, initializer_range=0.3)
        if labels:
            config.id2label = dict(enumerate(labels))
            config.label2id = {name: i for i, name in enumerate(labels)}
        model = AutoModelForSequenceClassification.from_config(config).eval()
        tokenizer, rng = small_tokenizer(), random.Random(5)
        some = tokenizer([sentence(rng) for _ in range(30)], padding=True, return_tensors="pt")
        with torch.no_grad():
            model.classifier.bias -= model(**some).logits.mean(0)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make
