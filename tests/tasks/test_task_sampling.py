"""Samples in which every class has its share."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import EncodedExamples, Examples
from kdnas.tasks.sampling import (
    draw_proxy,
    hold_out,
    split_off,
    stratified_sample,
    training_sample,
)


def examples(labels: np.ndarray) -> EncodedExamples:
    count = len(labels)
    ids = np.tile(np.array([2, 10, 11, 12, 3], np.int32), count)
    return EncodedExamples(ids, None, np.arange(count + 1) * 5, labels)


def windows(*counts: int) -> EncodedExamples:
    """So many windows on each row."""
    rows = np.repeat(np.arange(len(counts)), counts)
    ids = np.arange(len(rows), dtype=np.int32)
    return EncodedExamples(ids, None, np.arange(len(rows) + 1), rows=rows)


def test_the_proxy_is_stratified_and_seeded() -> None:
    data = examples(np.array([0] * 900 + [1] * 100))
    chosen = draw_proxy(data, 0.3, 32, seed=0)
    assert len(chosen) == 300 and (np.diff(chosen) > 0).all()
    assert data.labels[chosen].sum() == 30
    assert np.array_equal(chosen, draw_proxy(data, 0.3, 32, seed=0))
    assert not np.array_equal(chosen, draw_proxy(data, 0.3, 32, seed=1))


def test_regression_is_stratified_by_deciles() -> None:
    labels = np.linspace(0, 5, 1000).astype(np.float32)
    data = dataclasses.replace(examples(labels), task_type="regression")
    chosen = stratified_sample(data, 100, seed=0)
    counts = np.histogram(labels[chosen], bins=10, range=(0, 5))[0]
    assert counts.min() >= 9 and counts.max() <= 11


def test_labels_too_rare_to_stratify_are_drawn_plainly() -> None:
    data = examples(np.array([0] * 99 + [1]))
    assert len(stratified_sample(data, 30, seed=0)) == 30
    assert len(stratified_sample(dataclasses.replace(data, labels=None), 30, seed=0)) == 30
    assert len(stratified_sample(data.take(range(10)), 30, seed=0)) == 10


@pytest.mark.parametrize("rare", [1, 2, 8])
def test_a_rare_class_is_among_the_rows_to_train_on(rare: int) -> None:
    labels = np.zeros(20_000, np.int64)
    labels[7 : 7 + rare] = 1
    data = Examples(["text"] * len(labels), labels=labels)
    for seed in range(5):
        chosen = training_sample(data, 1000, seed)
        assert len(chosen) == 1000 and (np.diff(chosen) > 0).all()
        assert labels[chosen].sum() == 1
        assert np.array_equal(chosen, training_sample(data, 1000, seed))


def test_rows_to_train_on_are_a_stratified_sample_where_it_has_every_class() -> None:
    labels = np.arange(500) % 7 // 3
    whole = Examples(["text"] * 500, labels=labels)
    assert np.array_equal(training_sample(whole, 50, 3), stratified_sample(whole, 50, 3))
    assert len(training_sample(whole, 900, 3)) == 500
    plain = Examples(["text"] * 500)
    assert np.array_equal(training_sample(plain, 50, 3), stratified_sample(plain, 50, 3))
    many = Examples(["text"] * 500, labels=np.arange(500) // 2)
    classes = many.labels[training_sample(many, 100, 0)]  # type: ignore[index]
    assert len(set(classes)) == 100  # as many as there is room for


def test_a_small_proxy_has_two_batches() -> None:
    data = examples(np.arange(200) % 2)
    assert len(draw_proxy(data, 0.3, 32, seed=0)) == 64
    assert len(draw_proxy(data, 0.5, 32, seed=0)) == 100
    assert len(draw_proxy(data.take(range(64)), 0.3, 32, seed=0)) == 64


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (40, "found 40 training examples, fewer than two batches of 32; .* or --batch-size 20$"),
        (1, "found 1 training example, fewer than two batches of 32; give more examples$"),
    ],
)
def test_data_of_fewer_than_two_batches_are_refused(count: int, told: str) -> None:
    data = examples(np.arange(count) % 2)
    with pytest.raises(KdnasError, match=told):
        draw_proxy(data, 0.3, 32, seed=0)
    if count > 1:
        assert len(draw_proxy(data, 0.3, 20, seed=0)) == 40


def test_rows_of_one_group_are_held_out_together() -> None:
    groups = [f"article {i // 7}" for i in range(70)]
    train = Examples([f"text {i}" for i in range(70)], groups=groups)
    kept, apart = hold_out(train)
    assert kept.groups is not None and apart.groups is not None
    assert len(set(apart.groups)) == 1 and len(apart) == 7
    assert not set(kept.groups) & set(apart.groups)
    alone, one = hold_out(train.take(range(7)))
    assert (len(alone), len(one)) == (6, 1)


def test_rows_without_a_group_are_no_group() -> None:
    groups = ["" if i % 10 else f"article {i % 50}" for i in range(1000)]
    kept, apart = hold_out(Examples([f"text {i}" for i in range(1000)], groups=groups))
    assert 100 <= len(apart) <= 200
    assert not set(kept.groups or ()) & set(apart.groups or ()) - {""}


@pytest.mark.parametrize(
    ("sizes", "least", "most"),
    [
        ([900, *[2] * 50], 100, 101),  # of a large one and small ones the small ones
        ([300, 300, 300, 300], 300, 300),  # a whole one where it leaves enough
        ([500, 500], 100, 100),  # single rows where it does not
        ([1, 500, 500], 100, 100),
        ([2], 1, 1),
        ([1, 1], 1, 1),
    ],
)
def test_a_large_group_stays_in_train(sizes: list[int], least: int, most: int) -> None:
    groups = [f"article {name}" for name, size in enumerate(sizes) for _ in range(size)]
    for seed in range(5):
        _, apart = hold_out(Examples(["text"] * len(groups), groups=groups), seed)
        assert least <= len(apart) <= most


def test_rows_of_one_text_are_held_out_together() -> None:
    texts = [f"text {i // 3}" if i < 600 else "ok" if i < 800 else f"one {i}" for i in range(1000)]
    labels = np.array([i % 30 == 0 for i in range(1000)], np.int64)
    kept, apart = hold_out(
        Examples([f" {t}" if i % 2 else t for i, t in enumerate(texts)], labels=labels)
    )
    assert not {t.strip() for t in kept.text} & {t.strip() for t in apart.text}
    assert 60 <= len(apart) <= 120 and "ok" not in apart.text
    assert apart.labels is not None and apart.labels.sum() >= 2
    pairs = Examples(["same"] * 50, [f"other {i // 2}" for i in range(50)])
    kept, apart = hold_out(pairs)
    assert 4 <= len(apart) <= 6 and not set(kept.text_pair or ()) & set(apart.text_pair or ())


def test_rows_of_different_texts_are_drawn_as_a_stratified_sample() -> None:
    whole = Examples([f"text {i}" for i in range(500)], labels=np.arange(500) % 7 // 3)
    _, apart = hold_out(whole, seed=3)
    assert apart.text == whole.take(stratified_sample(whole, 50, 3)).text


def test_a_sample_has_all_windows_of_a_row() -> None:
    data = windows(*(np.arange(20) % 3 + 1))
    chosen = stratified_sample(data, 12, seed=0)
    rows = data.rows_of(chosen)
    assert len(rows) == round(12 * 20 / len(data))
    assert chosen.tolist() == data.examples_of(rows).tolist()
    part = data.take(chosen)
    assert part.row_count == len(rows) and part.rows is not None
    assert np.bincount(part.rows).tolist() == (rows % 3 + 1).tolist()


def test_most_windows_are_all_where_that_is_nearest() -> None:
    assert draw_proxy(windows(*[3] * 21, 2), 0.5, 32, seed=0).tolist() == list(range(65))
    assert stratified_sample(windows(7), 1, seed=0).tolist() == list(range(7))


def test_a_proxy_of_long_rows_has_two() -> None:
    data = windows(100, 90, 110, 100)
    assert len(data.rows_of(draw_proxy(data, 0.1, 8, seed=0))) == 2
    assert len(draw_proxy(windows(70), 0.1, 8, seed=0)) == 70


@pytest.mark.parametrize("data", [windows(7, 9), windows(40, 1, 1), examples(np.arange(2))])
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_what_is_split_off_leaves_a_row(data: EncodedExamples, share: float) -> None:
    stay, apart = split_off(data, max(1, round(len(data) * share)), seed=0)
    assert sorted([*stay, *apart]) == list(range(len(data)))
    rows = data.rows_of(stay), data.rows_of(apart)
    assert len(rows[0]) and len(rows[1]) and not np.intersect1d(*rows).size


@pytest.mark.parametrize("data", [windows(7), examples(np.arange(1))])
def test_nothing_can_be_split_off_one_row(data: EncodedExamples) -> None:
    told = "found 1 training example, and one must be held out; give two or more$"
    with pytest.raises(KdnasError, match=told):
        split_off(data, 1, seed=0)
