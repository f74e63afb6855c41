"""Multi-label classification: losses, metrics, thresholds and answers."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, average_precision_score, f1_score
from sklearn.metrics import precision_recall_fscore_support as sklearn_details

from kdnas.evaluation.floor import floor_model
from kdnas.tasks import TASK_TYPES, EncodedExamples, Examples, TaskSpec
from kdnas.tasks.class_weights import check_class_weights
from kdnas.tasks.encode import Units
from kdnas.tasks.metrics import Answers, metrics_of, score_intervals, skill_interval
from kdnas.tasks.sampling import stratified_sample
from kdnas.tasks.types import Submission
from kdnas.tasks.types.multi_label import best_threshold

KIND = TASK_TYPES["multi-label"]
NAMES = ("toxic", "insult", "threat")
ONE = Units(torch.arange(1))
NOTHING = EncodedExamples(np.zeros(0, np.int32), None, np.zeros(1, np.int64))


def spec(*names: str) -> TaskSpec:
    entry = {"name": "m", "type": "multi-label", "text": "text", "labels": names or NAMES}
    return TaskSpec.model_validate(entry)


def data_of(labels: np.ndarray) -> EncodedExamples:
    rows = len(labels)
    ids, ends = np.zeros(rows, np.int32), np.arange(rows + 1)
    return EncodedExamples(ids, None, ends, labels, "multi-label")


def random_rows(rows: int = 400, labels: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Predictions, many of them equal, and labels, some of which no row has."""
    rng = np.random.default_rng(seed)
    truth = rng.random((rows, labels)) < np.linspace(0.0, 0.6, labels)
    predicted = np.round(2 * truth - 1 + 2 * rng.standard_normal(truth.shape), 1)
    return predicted, truth.astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_are_those_of_sklearn(seed: int) -> None:
    predicted, truth = random_rows(seed=seed)
    found = {name: metric(predicted, truth) for name, metric in KIND.metrics.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a label without rows
        wanted = {
            "f1_micro": f1_score(truth, predicted > 0, average="micro"),
            "f1_macro": f1_score(truth, predicted > 0, average="macro", zero_division=0),
            "average_precision": average_precision_score(truth, predicted, average="macro"),
            "subset_accuracy": accuracy_score(truth, predicted > 0),
        }
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    centred = [side - side.mean(0) for side in (predicted > 0, truth)]
    both, p, t = ((a * b).sum() for a, b in ((*centred,), (centred[0],) * 2, (centred[1],) * 2))
    assert found["correlation"] == pytest.approx(both / math.sqrt(p * t), abs=1e-7)


def test_details_are_those_of_sklearn() -> None:
    predicted, truth = random_rows()
    found = KIND.details(predicted, truth, [*"abcde"])
    assert found is not None and "confusion" not in found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = sklearn_details(truth, predicted > 0, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), wanted, strict=True):
        np.testing.assert_allclose([one[name] for one in found["classes"]], values, atol=1e-12)


def test_bootstraps_are_those_of_the_rows_themselves() -> None:
    predicted, truth = random_rows(rows=60)
    rows = np.random.default_rng(3).integers(0, 60, (7, 60))
    for name, metric in KIND.metrics.items():
        resampled = metric.on(predicted, truth)(rows)
        each = [metric(predicted[part], truth[part]) for part in rows]
        np.testing.assert_allclose(resampled, each, atol=1e-12, err_msg=name)


def test_intervals_hold_the_scores() -> None:
    found = Answers(*random_rows(rows=2000))
    scores, intervals = metrics_of(spec(*"abcde"), found), score_intervals(spec(*"abcde"), found)
    assert list(scores) == list(KIND.default_metrics) == list(intervals)
    for name, (low, high) in intervals.items():
        assert low < scores[name] < high, name
    skill = skill_interval(spec(*"abcde"), found)
    assert skill is not None and skill[0] > 0


def test_golden_loss_on_labels() -> None:
    """ln(1 + e^-2) and ln(1 + e^1), whose mean is 0.720095; a row without labels counts nothing."""
    logits = torch.tensor([[2.0, 1.0], [0.0, 0.0]])
    labels = torch.tensor([[1.0, 0.0], [math.nan, math.nan]])
    assert KIND.task_loss(logits, labels, ONE).item() == pytest.approx(0.7200949, abs=1e-6)
    assert KIND.count(ONE, labels) == 1
    assert KIND.task_loss(logits, labels * math.nan, ONE).item() == 0
    weighted = KIND.task_loss(logits, labels, ONE, torch.tensor([3.0, 1.0]))  # type: ignore[call-arg]
    assert weighted.item() == pytest.approx((3 * 0.1269280 + 1.3132617) / 2, abs=1e-6)


def test_gradients_of_rows_without_labels_are_0() -> None:
    logits = torch.ones(2, 2, requires_grad=True)
    labels = torch.tensor([[1.0, 0.0], [math.nan, math.nan]])
    KIND.task_loss(logits, labels, ONE).backward()
    assert logits.grad is not None and logits.grad[1].tolist() == [0, 0]
    assert logits.grad[0].isfinite().all()


@pytest.mark.parametrize(
    ("kind", "golden"),
    [
        # Teacher ln 3 and 0: probabilities 3/4 and 1/2; student 0 and 0: 1/2 each.
        # KL: 3/4 ln(3/2) + 1/4 ln(1/2) = 0.1308121 and 0, mean 0.0654060.
        ("kl", 0.0654060),
        ("ce", math.log(2)),
        ("mse", math.log(3) ** 2 / 2),
    ],
)
def test_golden_distillation_losses(kind: str, golden: float) -> None:
    student, teacher = torch.zeros(1, 2), torch.tensor([[math.log(3), 0.0]])
    loss = KIND.logit_loss(student, teacher, ONE, 1.0, kind)  # type: ignore[arg-type]
    assert loss.item() == pytest.approx(golden, abs=1e-6)


def test_golden_distillation_loss_with_a_temperature() -> None:
    """Logits 2 ln 3 and 0 at T = 2: those above, times 4."""
    student, teacher = torch.zeros(1, 2), torch.tensor([[2 * math.log(3), 0.0]])
    loss = KIND.logit_loss(student, teacher, ONE, 2.0, "kl")
    assert loss.item() == pytest.approx(4 * 0.0654060, abs=1e-6)
    assert KIND.logit_loss(teacher, teacher, ONE, 2.0, "kl").item() == pytest.approx(0, abs=1e-7)
    far = torch.tensor([[200.0, -200.0]])
    assert math.isfinite(KIND.logit_loss(-far, far, ONE, 1.0, "kl").item())


def test_cross_entropy_and_divergence_have_one_gradient() -> None:
    teacher, grads = torch.randn(4, 3), []
    for kind in ("kl", "ce"):
        student = torch.ones(4, 3, requires_grad=True)
        KIND.logit_loss(student, teacher, ONE, 3.0, kind).backward()  # type: ignore[arg-type]
        grads.append(student.grad)
    torch.testing.assert_close(*grads)


def test_balanced_weights() -> None:
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]], np.float32)
    weights = KIND.balanced_weights(labels, 3)
    assert weights is not None
    np.testing.assert_allclose(weights, [1 / 3, 3, 1])
    check_class_weights(spec(), "balanced")


def test_the_best_threshold() -> None:
    """Said from 1 on: 3 of 4 right, all 3 found: F1 6/7; between 1 and -1 lies 0."""
    logits = np.array([[3.0, -2.0], [2.0, -1.0], [1.0, -3.0], [4.0, -4.0]])
    labels = np.array([[1, 0], [1, 0], [1, 0], [0, 0]], np.float32)
    assert best_threshold(logits, labels) == pytest.approx(0.5)
    # Beyond 1.5 two are right and one is missed and one wrong; at 1 as above.
    shifted = best_threshold(logits + 2, labels)
    assert shifted == pytest.approx(1 / (1 + math.exp(-2)))
    assert best_threshold(logits, 0 * labels) is None
    assert best_threshold(logits * math.nan, labels) is None
    assert best_threshold(logits + 100, labels) == pytest.approx(1 - 1e-4)
    unlabelled = np.vstack([labels, np.full((1, 2), np.nan)])
    assert best_threshold(np.vstack([logits, [[9.0, 9.0]]]), unlabelled) == pytest.approx(0.5)


def test_no_cut_is_better_than_the_threshold() -> None:
    predicted, truth = random_rows(seed=7)
    logits = predicted - 1.3
    chosen = KIND.choose_threshold(logits, data_of(truth))
    assert chosen is not None

    def score(threshold: float) -> float:
        found = KIND.predictions(logits, data_of(truth), threshold)
        return KIND.metrics["f1_micro"](found, truth)

    best = max(score(t) for t in np.linspace(0.001, 0.999, 999))
    assert score(chosen) >= best - 1e-12


def test_a_label_at_the_threshold_is_said() -> None:
    logits = np.array([[0.0, math.log(0.3 / 0.7)]])
    assert (KIND.predictions(logits, NOTHING, None) > 0).tolist() == [[True, False]]
    assert (KIND.predictions(logits, NOTHING, 0.3) > 0).tolist() == [[True, True]]
    [answer] = KIND.row_answers(logits, ("a", "b"), NOTHING, 0.3)
    assert answer["labels"] == ["a", "b"]
    assert answer["probabilities"] == pytest.approx({"a": 0.5, "b": 0.3})


def test_answers_in_a_line() -> None:
    [some, none] = KIND.row_answers(
        np.array([[1.0, 2.0, -1.0], [-1.0, -2.0, -3.0]]), NAMES, NOTHING
    )
    assert KIND.answer_line(some, NAMES) == "insult 0.8808, toxic 0.7311"
    assert KIND.answer_line(none, NAMES) == "(none)"
    assert KIND.in_words(np.array([1, 0, 1]), NAMES) == "toxic, threat"


def test_a_row_of_a_predictions_file() -> None:
    logits = np.array([[1.0, 2.0, -1.0], [-1.0, -2.0, -3.0]])
    assert KIND.row_submission(logits, NAMES, Submission(), NOTHING) == ["toxic|insult", ""]
    assert KIND.row_submission(logits, NAMES, Submission(ids=True), NOTHING, 0.1) == [
        "0|1|2",
        "0|1",
    ]


def test_the_constant_answer_is_the_best_set() -> None:
    rng = np.random.default_rng(0)
    f1 = KIND.metrics["f1_micro"]
    for _ in range(20):
        truth = (rng.random((50, 4)) < rng.random(4)).astype(np.float32)
        [constant] = KIND.constant_answers(truth, [*"abcd"])
        found = f1(constant.predict(data_of(truth)), truth)
        sets = ((np.arange(1, 16)[:, None] >> np.arange(4)) & 1) * 2.0 - 1
        assert found == max(f1(np.repeat(one[None], 50, axis=0), truth) for one in sets)
    truth = np.array([[1, 0, 1], [1, 0, 1], [1, 0, 0]], np.float32)
    [constant] = KIND.constant_answers(truth, NAMES)
    assert constant.name == "toxic, threat"
    skill = KIND.metrics["correlation"]
    assert skill(constant.predict(data_of(truth)), truth) == 0


def test_the_floor_learns_words() -> None:
    words = ["good", "long", "loud"]
    rng = np.random.default_rng(0)
    labels = (rng.random((300, 3)) < 0.4).astype(np.float32)
    texts = [" ".join(["it is", *np.array(words)[row > 0]]) for row in labels]
    train = Examples(texts, None, labels, task_type="multi-label")
    found = floor_model(spec(), train, 0)
    assert found is not None and found[0] == "TF-IDF, linear"
    said = found[1](Examples(["so good", "loud and long", "it is"])) > 0
    assert said.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert floor_model(spec(), Examples(["", "..."], None, labels[:2]), 0) is None


def test_a_sample_has_rare_labels_in_their_share() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((4000, 3)) < (0.5, 0.02, 0.0)).astype(np.float32)
    data = data_of(labels)
    assert data.labels is not None
    some = data.labels[stratified_sample(data, 400, 0)]
    assert abs(int(some[:, 1].sum()) - round(labels[:, 1].sum() / 10)) <= 1


@pytest.mark.parametrize("noise", [0.5, 30.0])
def test_an_order_that_fits_far_better(noise: float) -> None:
    """A head that knows the labels shows the order of its outputs; one that knows none does not."""
    rng = np.random.default_rng(0)
    labels = (rng.random((500, 3)) < (0.5, 0.3, 0.4)).astype(np.float32)
    outputs = labels[:, [2, 0, 1]] + noise * rng.standard_normal(labels.shape)
    found = KIND.better_order(outputs, labels)
    assert found == ([1, 2, 0] if noise < 1 else None)
    assert KIND.better_order(outputs[:, [1, 2, 0]], labels) is None
