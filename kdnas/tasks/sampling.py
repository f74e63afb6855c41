"""Parts of some examples, drawn at random, every class in its share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count as counting

import numpy as np
from numpy.typing import NDArray

from kdnas.errors import KdnasError
from kdnas.runtime.formatting import several
from kdnas.tasks.encode import EncodedExamples
from kdnas.tasks.examples import Examples, Key, keys_of
from kdnas.tasks.types import TASK_TYPES

HELD_OUT_SHARE = 0.1
# Of the rows that should be held out, as many may be so that groups stay whole; where all groups
# are larger, one may be this share of all rows.
_MOST_HELD_OUT = 2
_MOST_SHARE = 1 / 3


def stratified_sample(data: Examples | EncodedExamples, count: int, seed: int) -> NDArray[np.int64]:
    """`count` indices, ascending, of examples whose strata are as frequent as in the whole.

    Where some stratum is too rare, or there are none, the sample is a plain random one. Of windows
    it has all those on the rows that are drawn, about `count` of them; all, where that is nearest.
    """
    from sklearn.model_selection import train_test_split

    total = len(data)
    if isinstance(data, EncodedExamples) and data.rows is not None:
        total, count = data.row_count, max(1, round(count * data.row_count / total))
    if count >= total:
        return np.arange(len(data))
    everything, strata = np.arange(total), _strata(data, total)
    if strata is not None:
        sizes = np.unique(strata, return_counts=True)[1]
        if sizes.min() < 2 or len(sizes) > min(count, total - count):
            strata = None
    chosen, _ = train_test_split(everything, train_size=count, random_state=seed, stratify=strata)
    return data.examples_of(chosen) if isinstance(data, EncodedExamples) else np.sort(chosen)


def training_sample(data: Examples, count: int, seed: int) -> NDArray[np.int64]:
    """A stratified sample to train on: one row at least of each stratum, where `count` has room.

    A row of a stratum that was not drawn takes the place of a row of one with several.
    """
    chosen, strata = stratified_sample(data, count, seed), _strata(data, len(data))
    if strata is None:
        return chosen
    rng = np.random.default_rng(seed)
    drawn, others = rng.permutation(chosen), rng.permutation(len(data))
    others = others[~np.isin(strata[others], strata[drawn])]
    missing = others[np.unique(strata[others], return_index=True)[1]]
    further = np.delete(drawn, np.unique(strata[drawn], return_index=True)[1])
    moved = min(len(missing), len(further))
    return np.union1d(np.setdiff1d(chosen, further[:moved]), missing[:moved])


def _strata(data: Examples | EncodedExamples, total: int) -> NDArray[np.int64] | None:
    """The stratum of each of `total` rows; None where there are none."""
    if data.labels is None or len(data.labels) != total:
        return None
    return TASK_TYPES[data.task_type].strata(data.labels)


def split_off(
    data: EncodedExamples, count: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the examples that stay, and of a stratified sample of about `count` others.

    All windows on a row are on one side, and each side has a row at least.

    Raises:
        KdnasError: There are fewer than two rows.
    """
    rows = data.row_count
    if rows < 2:
        raise KdnasError(
            f"found {several(rows, 'training example')}, and one must be held out; give two or more"
        )
    apart = stratified_sample(data, min(count, len(data) * (rows - 1) // rows), seed)
    return np.setdiff1d(np.arange(len(data)), apart), apart


def hold_out(train: Examples, seed: int = 0) -> tuple[Examples, Examples]:
    """Nine tenths to train on and one to validate on; rows of one group stay together.

    A row whose group is empty belongs to none. Where there are no groups, or they are too large to
    hold about a tenth out, rows with the same texts stay together.

    Raises:
        KdnasError: There are fewer than two examples.
    """
    if len(train) < 2:
        raise KdnasError("cannot split one training example; give a validation file")
    count = max(1, round(HELD_OUT_SHARE * len(train)))
    chosen = None
    if train.groups is not None and any(train.groups):
        chosen = _whole_groups(train.groups, count, seed)
    if chosen is None:
        chosen = _whole_texts(train, count, seed)
    return train.take(np.setdiff1d(np.arange(len(train)), chosen)), train.take(chosen)


def _whole_groups(groups: Sequence[str], count: int, seed: int) -> NDArray[np.int64] | None:
    """Indices of the rows of random groups, about `count`; None where that cannot be."""
    member = _members(groups)
    sizes = np.bincount(member)
    if len(sizes) < 2:
        return None
    taken, held = list[int](), 0
    for group in np.random.default_rng(seed).permutation(len(sizes)).tolist():
        # A large group would leave little to train on.
        if held < count and held + sizes[group] <= _MOST_HELD_OUT * count:
            taken.append(group)
            held += int(sizes[group])
    if 2 * held < count:
        least = min(set(range(len(sizes))) - set(taken), key=lambda one: sizes[one])
        if held + sizes[least] > len(groups) * _MOST_SHARE:
            return None
        taken.append(least)
    return np.flatnonzero(np.isin(member, taken))


def _whole_texts(train: Examples, count: int, seed: int) -> NDArray[np.int64]:
    """Indices of about `count` rows, stratified by the first row of each text, with all its rows.

    A text of more rows than that stays in train. Where all are, single rows are drawn.
    """
    numbers: dict[Key, int] = {}
    member = np.array([numbers.setdefault(key, len(numbers)) for key in keys_of(train)])
    firsts = np.unique(member, return_index=True)[1]
    drawn = firsts[np.bincount(member) <= count]
    if not len(drawn):
        member = drawn = np.arange(len(train))
    share = max(1, round(count * len(drawn) / len(train)))
    chosen = drawn[stratified_sample(train.take(drawn), share, seed)]
    return np.flatnonzero(np.isin(member, member[chosen]))


def _members(groups: Sequence[str]) -> NDArray[np.int64]:
    """The number of each row's group; a row whose group is empty has one of its own."""
    numbers = {name: number for number, name in enumerate(sorted(set(groups) - {""}))}
    own = counting(len(numbers))
    return np.array([numbers[name] if name else next(own) for name in groups], np.int64)


def draw_proxy(
    data: EncodedExamples, fraction: float, batch_size: int, seed: int
) -> NDArray[np.int64]:
    """A stratified sample in the data's order, of two batches where the share would be less.

    Of windows on two rows or more it has those on two at least: one can then be held out.

    Raises:
        KdnasError: All of the data are less than two batches.
    """
    if len(data) < 2 * batch_size:
        smaller = f" or --batch-size {len(data) // 2}" if len(data) > 1 else ""
        raise KdnasError(
            f"found {several(len(data), 'training example')}, fewer than two batches of "
            f"{batch_size}; give more examples{smaller}"
        )
    two_rows = -(-2 * len(data) // data.row_count)  # on average
    count = max(2 * batch_size, round(len(data) * fraction), two_rows)
    return stratified_sample(data, count, seed)
