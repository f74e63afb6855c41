"""Training rows that no student trains on: on them, the best of those trained in full is chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kdnas.config import Settings
from kdnas.recipes.run_data import RunData
from kdnas.scoring.proxy import MOST_HELDOUT, split_heldout
from kdnas.tasks import EncodedExamples, Examples
from kdnas.tasks.encode import Indices
from kdnas.tasks.sampling import split_off

# With as many rows that --max-train-rows leaves out, none has to be held out; fewer are used where
# no more would be held out.
ENOUGH = 200


def selection_rows(data: RunData, settings: Settings) -> EncodedExamples:
    """The rows on which students that were trained in full are compared."""
    if _has_spare(data, settings):
        assert data.spare is not None
        return data.spare
    return data.train.take(_held_out(data, settings))


def selection_texts(data: RunData, settings: Settings) -> Examples:
    """The texts of these rows, with their labels."""
    if _has_spare(data, settings):
        assert data.spare_texts is not None
        return data.spare_texts
    return data.examples.take(data.train.rows_of(_held_out(data, settings)))


def for_students(data: RunData, settings: Settings) -> RunData:
    """The data that students train on in full."""
    if _has_spare(data, settings):  # no other texts that they train on may be those rows
        assert data.spare_texts is not None
        return replace(data, held_out=data.held_out | _texts_of(data.spare_texts))
    chosen = _held_out(data, settings)
    left = np.setdiff1d(np.arange(len(data.train)), chosen)
    apart = data.examples.take(data.train.rows_of(chosen))
    return replace(
        data,
        train=data.train.take(left),
        examples=data.examples.take(data.train.rows_of(left)),
        distillation=data.distillation.take(left) if data.proxy_is_own else data.distillation,
        held_out=data.held_out | _texts_of(apart),
    )


def _texts_of(rows: Examples) -> set[str]:
    return {*rows.text, *(rows.text_pair or ())}


def _has_spare(data: RunData, settings: Settings) -> bool:
    """Whether spare rows are taken, so that students train on all others."""
    if data.spare is None:
        return False
    if data.needs_enough:
        return len(data.spare) >= ENOUGH
    count = data.spare.row_count
    return count >= ENOUGH or count >= len(data.train.rows_of(_held_out(data, settings)))


def _held_out(data: RunData, settings: Settings) -> Indices:
    """Of the training rows, those that the proxy holds out; as many where it is of other texts."""
    share, seed = settings.heldout_fraction, settings.seed
    if data.proxy_is_own:
        proxy = data.distillation.take(data.proxy)
        return data.proxy[split_heldout(proxy, share, seed)[1]]
    count = max(1, round(settings.proxy_fraction * share * len(data.train)))
    return split_off(data.train, min(MOST_HELDOUT, count), seed + 1)[1]
