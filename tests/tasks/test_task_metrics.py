"""Every metric against numbers worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import TaskSpec, compute_metrics, load_spec

# Predicted 1 0 1 1 against 1 0 0 1: two true positives, one true and one false, none missed.
LOGITS = np.array([[0.1, 0.9], [2.0, -1.0], [-3.0, 3.0], [0.0, 0.5]])
LABELS = np.array([1, 0, 0, 1])


def spec_with(*metrics: str, regression: bool = False, labels: int = 2) -> TaskSpec:
    names = None if regression else tuple(f"class{i}" for i in range(labels))
    return TaskSpec.model_validate(
        {
            "name": "t",
            "text": "text",
            "labels": names,
            "regression": regression,
            "metrics": metrics,
        }
    )


@pytest.mark.parametrize(
    ("metric", "golden"),
    [
        ("accuracy", 0.75),
        ("f1", 2 * 2 / (2 * 2 + 1)),
        ("f1_macro", (0.8 + 2 / 3) / 2),
        ("mcc", 2 / math.sqrt(12)),
    ],
)
def test_class_metrics_are_golden(metric: str, golden: float) -> None:
    key = "f1 (class1)" if metric == "f1" else metric
    assert compute_metrics(spec_with(metric), LOGITS, LABELS) == {key: pytest.approx(golden)}


def test_pearson_is_golden() -> None:
    scores = compute_metrics(spec_with("pearson", regression=True), [1, 2, 3, 5], [1, 2, 3, 4])
    assert scores == {"pearson": pytest.approx(6.5 / math.sqrt(8.75 * 5)), "mae": 0.25}


def test_spearman_is_golden() -> None:
    scores = compute_metrics(spec_with("spearman", regression=True), [1, 30, 2, 400], [1, 2, 3, 4])
    assert scores["spearman"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert scores["mae"] == (28 + 1 + 396) / 4


def test_three_classes() -> None:
    spec = spec_with("accuracy", "f1_macro", labels=3)
    scores = compute_metrics(spec, np.eye(3)[[0, 1, 2, 2]], [0, 1, 2, 1])
    assert scores == {
        "accuracy": pytest.approx(0.75),
        "f1_macro": pytest.approx((1 + 2 / 3 + 2 / 3) / 3),
    }


@pytest.mark.parametrize(
    ("task", "keys"),
    [
        ("cola", ["mcc"]),
        ("sst2", ["accuracy"]),
        ("rte", ["accuracy"]),
        ("wnli", ["accuracy"]),
        ("qnli", ["accuracy"]),
        ("mrpc", ["accuracy", "f1"]),
        ("qqp", ["accuracy", "f1"]),
    ],
)
def test_official_metrics(task: str, keys: list[str]) -> None:
    assert list(compute_metrics(load_spec(task), LOGITS, LABELS)) == keys


def test_regression_takes_a_column_of_logits() -> None:
    scores = compute_metrics(load_spec("stsb"), [[1.0], [2.0], [4.0]], [0.0, 1.0, 3.0])
    assert scores == {"pearson": pytest.approx(1), "spearman": pytest.approx(1), "mae": 1.0}


def test_mnli_keys_carry_the_split() -> None:
    spec, logits = load_spec("mnli"), np.eye(3)
    assert compute_metrics(spec, logits, [0, 1, 2]) == {"accuracy": 1.0}
    assert compute_metrics(spec, logits, [0, 1, 2], "validation_mismatched") == {
        "accuracy_mismatched": 1.0
    }
    assert compute_metrics(load_spec("rte"), LOGITS, LABELS, "validation") == {"accuracy": 0.75}


@pytest.mark.parametrize("predictions", [[2.0, 2.0, 2.0], [[0.1], [0.1], [0.1]]])
def test_constant_scores_correlate_with_nothing(predictions: Any) -> None:
    scores = compute_metrics(load_spec("stsb"), predictions, [1.0, 2.0, 3.0])
    assert (scores["pearson"], scores["spearman"]) == (0.0, 0.0)


def test_constant_classes_have_no_mcc_and_no_f1() -> None:
    constant = np.array([[1.0, 0.0]] * 4)
    assert compute_metrics(spec_with("mcc", "f1"), constant, LABELS) == {
        "mcc": 0.0,
        "f1 (class1)": 0.0,
    }


def test_a_diverged_model_is_not_scored() -> None:
    with pytest.raises(KdnasError, match=r"1 of 4 predictions are not finite"):
        compute_metrics(spec_with("accuracy"), np.where(LOGITS == 3.0, np.nan, LOGITS), LABELS)


@pytest.mark.parametrize("labels", [[1, 0, 0], []])
def test_shapes_must_fit(labels: Any) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        compute_metrics(spec_with("accuracy"), LOGITS, labels)
