"""Labels of which one cell holds several, joined by a separator, as in `a|b`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kdnas.tasks.examples import shown

# What may stand between labels, the most telling first; a space only between labels that are known.
SEPARATORS = ("|", ";", ",")


def joined(names: Sequence[str]) -> tuple[str, str] | None:
    """A class name that seems to join several labels, and what stands between them; else None.

    It seems so where each part of each such name occurs in another name, too. Golden: ['a', 'b',
    'a,b'] -> ('a,b', ','); ['comp,graphics', 'comp,os'] -> None.
    """
    for separator in SEPARATORS:
        parts = [{part.strip() for part in name.split(separator)} for name in names]
        common = Counter(part for each in parts for part in each)
        several = [name for name, each in zip(names, parts, strict=True) if len(each) > 1]
        if several and all(common[part] > 1 for each in parts if len(each) > 1 for part in each):
            return several[0], separator
    return None


def hint_of_joined(names: Sequence[str]) -> str:
    """Points to the type for several labels a row where class names seem to join them."""
    found = joined(names)
    if found is None:
        return ""
    return (
        f"{shown(found[0])!r} looks like several labels joined by {found[1]!r}: if so, set "
        "`type: multi-label` in the task"
    )
