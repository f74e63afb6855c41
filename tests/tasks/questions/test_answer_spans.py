"""The best span of each question, against a plain search, and in seconds."""

from __future__ import annotations

import numpy as np
import pytest

from kdnas.tasks.encode import EncodedExamples, offsets_of
from kdnas.tasks.questions.answer_spans import BEST, LONGEST, best_spans
from kdnas.tasks.questions.references import Passage


def windows(sizes: list[int], rows: list[int], seed: int = 0) -> tuple[np.ndarray, EncodedExamples]:
    """Random logits of windows with so many context tokens; token i is characters 2i to 2i + 1."""
    rng = np.random.default_rng(seed)
    units = offsets_of(np.array(sizes, np.int64) + 1)
    spans = np.concatenate([[[0, 0], *([2 * i, 2 * i + 1] for i in range(size))] for size in sizes])
    references = np.empty(max(rows) + 1, object)
    references[:] = [Passage("ab" * 400, None, None)] * (max(rows) + 1)
    data = EncodedExamples(
        np.zeros(int(units[-1]), np.int32),
        None,
        units,
        units=units,
        positions=np.zeros(int(units[-1]), np.int32),
        rows=np.array(rows, np.int64),
        spans=spans.astype(np.int32),
        references=references,
    )
    return rng.normal(0, 3, (int(units[-1]), 2)), data


def plain_search(logits: np.ndarray, data: EncodedExamples, row: int) -> tuple[float, int, int]:
    """Every pair of the best starts and ends of every window, one after the other."""
    assert data.rows is not None and data.spans is not None
    found = []
    for window in np.flatnonzero(data.rows == row):
        first, last = data.unit_offsets[window] + 1, data.unit_offsets[window + 1]
        starts, ends = (
            first + np.argsort(-logits[first:last, side], kind="stable")[:BEST] for side in (0, 1)
        )
        for start in starts:
            for end in ends:
                if start <= end < start + LONGEST:
                    score = float(logits[start, 0] + logits[end, 1])
                    found.append((score, int(data.spans[start, 0]), int(data.spans[end, 1])))
    return max(found)


def test_spans_are_those_of_a_plain_search() -> None:
    sizes = [3, 50, 90, 1, 200, 20, 64, 33]
    rows = [0, 1, 1, 2, 3, 3, 3, 4]
    for seed in range(5):
        logits, data = windows(sizes, rows, seed)
        spans = best_spans(logits, data)
        for row in range(5):
            score, start, end = plain_search(logits, data, row)
            assert spans.score[row] == pytest.approx(score)
            assert (spans.start[row], spans.end[row]) == (start, end)
        first = data.unit_offsets[:-1]
        nulls = logits[first].sum(1)
        assert spans.null.tolist() == pytest.approx(
            [min(nulls[i] for i in range(8) if rows[i] == row) for row in range(5)]
        )


def test_an_answer_neither_runs_backwards_nor_over_thirty_tokens() -> None:
    logits, data = windows([100], [0])
    logits[:] = 0
    logits[51, 0], logits[50, 1] = 9, 9  # the best end is before the best start
    assert best_spans(logits, data).score[0] < 18
    logits[:] = 0
    logits[10, 0], logits[10 + LONGEST, 1] = 9, 9
    assert best_spans(logits, data).score[0] < 18
    logits[10 + LONGEST, 1], logits[9 + LONGEST, 1] = 0, 9
    assert best_spans(logits, data).score[0] == 18


def test_the_first_unit_is_no_answer() -> None:
    logits, data = windows([5], [0])
    logits[:] = 0
    logits[0] = 9
    spans = best_spans(logits, data)
    assert (spans.score[0], spans.null[0], spans.doubt[0]) == (0, 18, 18)
    assert spans.null_probability[0] > 0.99


def test_where_no_pair_fits_the_best_token_answers() -> None:
    logits, data = windows([80], [0])
    logits[:] = 0
    logits[41:, 0] = 5  # all best starts are behind all best ends
    logits[1:41, 1] = 5
    spans = best_spans(logits, data)
    assert spans.end[0] - spans.start[0] == 1


def test_a_context_without_a_token_has_no_span() -> None:
    logits, data = windows([0, 4], [0, 1])
    spans = best_spans(logits, data)
    assert spans.score[0] == -np.inf
    assert (spans.start[0], spans.end[0]) == (0, 0)
    assert np.isfinite(spans.score[1])
    assert best_spans(*windows([0], [0])).start.tolist() == [0]


def test_windows_may_come_in_any_order() -> None:
    logits, data = windows([30, 40, 50, 20], [0, 0, 1, 2])
    order = np.array([3, 1, 2, 0])
    units = np.concatenate([np.arange(*data.unit_offsets[i : i + 2]) for i in order])
    mixed, straight = best_spans(logits[units], data.take(order)), best_spans(logits, data)
    for ours, theirs in zip(mixed, straight, strict=True):
        assert ours == pytest.approx(theirs)
