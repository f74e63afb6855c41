"""The best span of each question's context, from start and end logits of its windows.

As in run_squad.py (Devlin et al. 2019, BERT): of each window the best starts and ends are paired.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kdnas.tasks.encode import EncodedExamples

BEST = 20  # starts and ends of a window that are paired
LONGEST = 30  # tokens of an answer
_CHUNK = 512  # windows in memory at a time

Floats = NDArray[np.float64]


class AnswerSpans(NamedTuple):
    """The best span of each row, and the score of none; all of shape (rows,)."""

    start: NDArray[np.int64]  # first character in the context
    end: NDArray[np.int64]  # the one behind the last; as `start` where the context has no token
    score: Floats  # start and end logit together; -inf where the context has no token
    probability: Floats  # of start and end, within its window
    null: Floats  # the least score of the first unit of its windows, which stands for no answer
    null_probability: Floats

    @property
    def doubt(self) -> Floats:
        """The score of no answer less that of the best one."""
        return self.null - self.score


class _Windows(NamedTuple):
    """The same of windows: the units at which their best span begins and ends."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    score: Floats
    probability: Floats
    paired: NDArray[np.bool_]  # whether the span is a pair of best starts and ends
    null: Floats
    null_probability: Floats


def best_spans(logits: NDArray[Any], data: EncodedExamples) -> AnswerSpans:
    """Decodes start and end logits.

    Args:
        logits: Shape (units, 2); the first unit of each window stands for no answer.
        data: With `units`, `spans` and `rows`.
    """
    assert data.spans is not None
    offsets, count = data.unit_offsets, len(data)
    parts = [
        _of_windows(np.asarray(logits, np.float64), offsets, start, min(start + _CHUNK, count))
        for start in range(0, count, _CHUNK)
    ]
    every = _Windows(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    rows = np.arange(count) if data.rows is None else data.rows
    # Of each row the window with the best pair; windows without one come last.
    order = np.lexsort((-every.score, ~every.paired, rows))
    chosen = order[np.flatnonzero(np.diff(rows[order], prepend=-1))]
    score = every.score[chosen]
    some = np.isfinite(score)

    def least(values: Floats) -> Floats:
        found = np.full(len(chosen), np.inf)
        np.minimum.at(found, rows, values)
        return found

    return AnswerSpans(
        # The first unit of all, whose span is empty, stands for no token.
        start=data.spans[np.where(some, every.first[chosen], 0), 0].astype(np.int64),
        end=data.spans[np.where(some, every.last[chosen], 0), 1].astype(np.int64),
        score=score,
        probability=every.probability[chosen],
        null=least(every.null),
        null_probability=least(every.null_probability),
    )


def _of_windows(logits: Floats, offsets: NDArray[np.int64], first: int, last: int) -> _Windows:
    """Windows `first` to `last`, laid out in a table of their units."""
    begins, counts = offsets[first:last], np.diff(offsets)[first:last]
    width = max(2, int(counts.max()))
    there = np.arange(width) < counts[:, None]
    table = np.full((len(counts), width, 2), -np.inf)
    table[there] = logits[offsets[first] : offsets[last]]
    highest = table.max(1, keepdims=True)
    norm = (np.log(np.exp(table - highest).sum(1)) + highest[:, 0]).sum(-1)
    null = table[:, 0].sum(-1)
    inside = table[:, 1:]
    starts, ends = (_best(inside[..., side]) for side in (0, 1))
    of_starts, of_ends = (
        np.take_along_axis(inside[..., side], best, 1) for side, best in ((0, starts), (1, ends))
    )
    scores = of_starts[:, :, None] + of_ends[:, None, :]
    length = ends[:, None, :] - starts[:, :, None]
    scores[(length < 0) | (length >= LONGEST)] = -np.inf
    each = np.arange(len(counts))
    best = scores.reshape(len(counts), -1).argmax(1)
    at_start, at_end = np.divmod(best, ends.shape[1])
    begin, end = starts[each, at_start], ends[each, at_end]
    score = scores[each, at_start, at_end]
    paired = np.isfinite(score)
    # No best start is before a best end near by: the best single token.
    single = inside.sum(-1)
    alone = single.argmax(1)
    begin, end = (np.where(paired, place, alone) for place in (begin, end))
    score = np.where(paired, score, single[each, alone])
    return _Windows(
        begins + 1 + begin,
        begins + 1 + end,
        score,
        np.exp(score - norm),
        paired,
        null,
        np.exp(null - norm),
    )


def _best(logits: Floats) -> NDArray[np.int64]:
    """Columns of the largest values of each row, at most BEST, the largest first."""
    return np.argsort(-logits, axis=1, kind="stable")[:, :BEST]
