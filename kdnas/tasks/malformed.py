"""From label cells to a split's examples: which rows stay, and how many may be lost."""

from __future__ import annotations

import logging

import numpy as np

from kdnas.errors import KdnasError
from kdnas.tasks.examples import Examples, RawSplit
from kdnas.tasks.labels import Gap, parse_labels
from kdnas.tasks.spec import TaskSpec

_LOG = logging.getLogger(__name__)
_TOLERATED_ROWS = 10
_TOLERATED_SHARE = 0.01


def to_examples(raw: RawSplit, spec: TaskSpec, needs_labels: bool) -> Examples:
    """The split with its labels as class ids or scores.

    Rows without a label are dropped; a split wholly without labels stays whole, unlabelled.

    Raises:
        KdnasError: A label is unknown, labels are needed and there is none, or more than 1% of
            the rows (and more than 10) are malformed.
    """
    values = parse_labels(raw, spec)
    labelled = [i for i, value in enumerate(values) if not isinstance(value, Gap)]
    if not labelled and not needs_labels:
        _check_dropped(raw, len(values), raw.dropped, raw.first_dropped)
        return Examples(raw.text, raw.text_pair, None, raw.dropped)
    missing = [i for i, value in enumerate(values) if value is Gap.MISSING]
    first = raw.first_dropped
    if missing and not first:
        first = f"{raw.unit} {raw.places[missing[0]]} has no label"
    _check_dropped(raw, len(values) - len(missing), raw.dropped + len(missing), first)
    if not labelled:
        raise KdnasError(f"{raw.source}: no {raw.unit} has a label under {spec.label.name!r}")
    kind = np.float32 if spec.is_regression else np.int64
    labels = np.array([value for value in values if not isinstance(value, Gap)], dtype=kind)
    chosen = Examples(raw.text, raw.text_pair).take(labelled)
    dropped = raw.dropped + len(values) - len(labelled)
    return Examples(chosen.text, chosen.text_pair, labels, dropped)


def _check_dropped(raw: RawSplit, kept: int, dropped: int, first: str) -> None:
    if not dropped:
        return
    total = kept + dropped
    if not kept or dropped > max(_TOLERATED_ROWS, _TOLERATED_SHARE * total):
        raise KdnasError(
            f"{raw.source}: {dropped} of {total} {raw.unit}s are malformed, the first: {first}; "
            f"up to {_TOLERATED_SHARE:.0%} (or {_TOLERATED_ROWS}) would be left out"
        )
    _LOG.warning("%s: left out %d of %d %ss: %s", raw.source, dropped, total, raw.unit, first)
