from __future__ import annotations

import numpy as np
import pytest

from kdnas.tasks import Examples
from kdnas.tasks.types import TASK_TYPES, UNSCALED, LabelScale

CLASSES, SCORES = TASK_TYPES["classification"], TASK_TYPES["regression"]


def test_golden_scale_of_labels() -> None:
    labels = np.array([10_000, np.nan, 30_000, 50_000], np.float32)
    scale = SCORES.label_scale(labels)
    assert scale == pytest.approx((30_000, 16_329.93162))
    standard = scale.standard(labels)
    assert standard.dtype == np.float32
    np.testing.assert_allclose(standard, [-1.2247449, np.nan, 0, 1.2247449], rtol=1e-6)
    np.testing.assert_allclose(scale.restored(standard), labels, rtol=1e-6)


def test_what_has_no_scale_stays_the_same_object() -> None:
    labels = np.array([0, 1, 2])
    assert CLASSES.label_scale(labels) == UNSCALED == SCORES.label_scale(np.full(3, 7.0))
    assert UNSCALED.standard(labels) is labels is UNSCALED.restored(labels)


def test_constants_are_the_classes_by_their_rows_and_the_mean() -> None:
    data = Examples(["a"] * 3, None, np.arange(3))
    classes = CLASSES.constant_answers(np.array([1, 2, 1, 3, 3, 3]), [*"abcd"])
    assert [one.name for one in classes] == ["d", "b", "c"]
    assert classes[1].predict(data).tolist() == [1, 1, 1]
    [mean] = SCORES.constant_answers(np.array([1.0, 4.0]), ())
    assert mean.name == "2.5" and mean.predict(data).tolist() == [2.5] * 3


def logits_of(guess: np.ndarray, size: int) -> np.ndarray:
    return np.eye(size)[guess]


def test_an_order_that_fits_far_better_is_found() -> None:
    labels = np.arange(300) % 3
    for order in ([1, 2, 0], [0, 2, 1]):
        logits = logits_of(labels, 3)[:, np.argsort(order)]
        found = CLASSES.better_order(logits, labels)
        assert found == order
        assert (logits[:, found].argmax(-1) == labels).all()


def test_no_order_is_better_for_heads_that_know_nothing_or_stand_right() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    for guess in (labels, np.zeros_like(labels), np.ones_like(labels), rng.permutation(labels)):
        assert CLASSES.better_order(logits_of(guess, 2), labels) is None
    few = np.arange(6) % 2
    assert CLASSES.better_order(logits_of(1 - few, 2), few) is None  # six rows show little


def test_golden_unit_of_outputs() -> None:
    labels = np.linspace(0, 5, 50)
    noise = 0.01 * np.sin(np.arange(50) * 7)
    slope, offset = 5.0, 0.5
    outputs = ((labels - offset) / slope + noise)[:, None]
    unit = SCORES.unit_of(outputs, labels)
    assert unit == pytest.approx(LabelScale(offset, slope), rel=0.02)
    shifted = SCORES.unit_of((labels - 2.5)[:, None], labels)
    assert shifted == pytest.approx((2.5, 1.0))


def test_outputs_in_the_labels_unit_that_fall_or_stand_still_keep_it() -> None:
    labels = np.linspace(0, 5, 50)
    rough = labels + np.sin(np.arange(50) * 7)
    for outputs in (labels, rough, -labels, np.full(50, 2.0)):
        assert SCORES.unit_of(outputs[:, None], labels) == UNSCALED
