"""Multi-label checkpoints from elsewhere: scored and used as they are; other heads are none."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Said, small_config, small_tokenizer
from safetensors.torch import load_file, save_file
from sklearn.metrics import average_precision_score, f1_score
from support.tiny import TOPICS, save_topics, sentence
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

import kdnas
from kdnas.errors import KdnasError
from kdnas.tasks import TASK_TYPES, TaskSpec, load_data, load_spec
from kdnas.teachers.load import load_teacher
from kdnas.teachers.trained_head import has_head

MULTI, SINGLE = "multi_label_classification", "single_label_classification"
ENTRY = {"type": "multi-label", "text": "text", "label": "topics"}
ORDER = ("film", "praise", "animal")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_topics(tmp_path_factory.mktemp("topics"))


@pytest.fixture(scope="module")
def spec(place: Path) -> TaskSpec:
    return load_data(load_spec("topics", {"topics": ENTRY}), place).spec


@pytest.fixture(scope="module")
def save(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Saves a small BERT whose head says different things of different sentences."""

    def make(problem: str | None = MULTI, names: tuple[str, ...] = ORDER, **more: Any) -> Path:
        folder = tmp_path_factory.mktemp("checkpoint")
        torch.manual_seed(1)
        ids = {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
        config = small_config(initializer_range=0.3, problem_type=problem, **ids, **more)
        model = AutoModelForSequenceClassification.from_config(config).eval()
        tokenizer, rng = small_tokenizer(), random.Random(5)
        some = tokenizer([sentence(rng) for _ in range(30)], padding=True, return_tensors="pt")
        with torch.no_grad():
            model.classifier.bias -= model(**some).logits.mean(0)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def foreign(save: Callable[..., Path]) -> Path:
    return save()


def evaluate(model: Path, place: Path, **options: Any) -> dict[str, Any]:
    config = place / "task.yaml"
    config.write_text("tasks:\n  topics: {type: multi-label, text: text, label: topics}\n")
    given = {"data_dir": place, "device": "cpu", "config": [config], **options}
    return dict(kdnas.evaluate(model, "topics", **given))


def plain_logits(model: Path, texts: list[str]) -> np.ndarray:
    """What transformers says, by the names of `TOPICS`."""
    classifier = AutoModelForSequenceClassification.from_pretrained(model).eval()
    inputs = AutoTokenizer.from_pretrained(model)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = classifier(**inputs).logits.numpy()
    return np.stack([logits[:, classifier.config.label2id[name]] for name in TOPICS], axis=1)


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_scores_are_those_of_a_plain_loop(
    threshold: float | None, save: Callable[..., Path], place: Path, spec: TaskSpec
) -> None:
    model = save(kdnas_threshold=threshold)
    found = evaluate(model, place)["tasks"]["topics"]
    examples = load_data(load_spec("topics", {"topics": ENTRY}), place).splits["validation"]
    logits = plain_logits(model, examples.text)
    said = 1 / (1 + np.exp(-logits)) >= (threshold or 0.5)
    assert found["tuned"] is False and spec.labels == tuple(TOPICS)
    assert found["scores"]["f1_micro"] == f1_score(examples.labels, said, average="micro")
    wanted = average_precision_score(examples.labels, logits, average="macro")
    assert found["scores"]["average_precision"] == pytest.approx(wanted, abs=1e-6)


def test_predict_says_what_is_likely(foreign: Path) -> None:
    texts = ["the good cat sees the dull film", "the bad bank"]
    shares = 1 / (1 + np.exp(-plain_logits(foreign, texts)))
    for said, row in zip(kdnas.predict(foreign, texts), shares, strict=True):
        wanted = dict(zip(TOPICS, row.tolist(), strict=True))
        assert said["probabilities"] == pytest.approx(wanted, abs=1e-5)
        assert said["labels"] == [name for name in ORDER if wanted[name] >= 0.5]
        assert said.keys() == {"text", "labels", "probabilities"}


def test_a_teachers_outputs_are_matched_by_their_names(foreign: Path, spec: TaskSpec) -> None:
    teacher = load_teacher(str(foreign), spec)
    assert teacher.has_head and list(teacher.order) == [2, 0, 1]
    inputs = teacher.tokenizer(["the good cat"], return_tensors="pt")
    with torch.no_grad():
        logits = teacher.model(**inputs).logits.numpy()
    np.testing.assert_allclose(logits, plain_logits(foreign, ["the good cat"]), atol=1e-6)


@pytest.mark.parametrize("problem", [None, SINGLE, "regression"])
def test_a_head_for_one_label_is_none_for_several(
    problem: str | None, save: Callable[..., Path], place: Path, spec: TaskSpec
) -> None:
    model = save(problem)
    assert not load_teacher(str(model), spec).has_head
    with pytest.raises(KdnasError, match=r"has no head with 3 output\(s\) for task 'topics'"):
        evaluate(model, place, fine_tune=False)


def test_a_head_for_several_labels_is_none_for_one(foreign: Path, spec: TaskSpec) -> None:
    entry = {"name": "one", "text": "text", "labels": spec.labels}
    config = AutoConfig.from_pretrained(foreign)
    assert has_head(config, spec) and not has_head(config, TaskSpec.model_validate(entry))
    assert config.problem_type == TASK_TYPES["multi-label"].problem_type


def test_a_head_without_weights_is_never_used(
    save: Callable[..., Path], place: Path, spec: TaskSpec, command: Said
) -> None:
    model = save()
    weights = load_file(model / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    assert not load_teacher(str(model), spec).has_head
    with pytest.raises(KdnasError, match="lacks weights of the head that its config describes"):
        evaluate(model, place)
    code, error = command("predict", model, "a text")
    assert code == 2 and "has no trained head" in error and "Traceback" not in error


def test_heads_of_other_labels_are_not_matched(save: Callable[..., Path], place: Path) -> None:
    with pytest.raises(KdnasError, match="the outputs of .* are called joy, fear, anger, the clas"):
        evaluate(save(names=("joy", "fear", "anger")), place)


def test_fine_tuning_keeps_a_threshold(foreign: Path, place: Path, tmp_path: Path) -> None:
    found = evaluate(foreign, place, fine_tune=True, epochs=4, lrs="3e-3", out=tmp_path / "out")
    task = found["tasks"]["topics"]
    assert task["tuned"] and task["scores"]["f1_micro"] > task["baseline"]["scores"]["f1_micro"]
    kept = AutoConfig.from_pretrained(tmp_path / "out" / "topics" / "model")
    assert 0 < kept.kdnas_threshold < 1 and kept.problem_type == MULTI
