"""Names of vocabularies, `teacher`, `task` or `task-5`, and those that a search chooses among."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from kdnas.config.choices import AGREEMENT, SHAPE, VOCABULARY
from kdnas.config.names import split
from kdnas.errors import KdnasError
from kdnas.runtime.shown import quoted

TEACHERS, TASKS = "teacher", "task"
# A search over vocabularies that names none: all tokens, those of the task, its common ones.
USUAL = (TEACHERS, TASKS, "task-5")
EXPECTED = (
    "expected teacher, task, or task-N: tokens that the task's texts have N times or more, such as "
    "task-5"
)


def least_count(name: str) -> int:
    """How often a token must occur in the task's texts to be in a vocabulary; 0: it need not.

    Raises:
        ValueError: There is no such vocabulary.
    """
    if name == TEACHERS:
        return 0
    found = re.fullmatch(rf"{TASKS}(?:-([1-9]\d{{0,8}}))?", name)
    if found is None or found[1] == "1":
        hint = "; task-1 is called task" if found else ""
        raise ValueError(f"there is no vocabulary {quoted(name)}; {EXPECTED}{hint}")
    return int(found[1] or 1)


def problem_of_names(names: Sequence[str]) -> str | None:
    """What is wrong with the names of vocabularies, in words."""
    for name in names:
        try:
            least_count(name)
        except ValueError as error:
            option = "--vocabularies" if len(names) > 1 else "--vocabulary"
            return f"invalid {option} {','.join(names)}: {error}"
    if len(set(names)) < len(names):
        return f"invalid --vocabularies {','.join(names)}: one stands there twice; leave it out"
    return None


def with_vocabularies(given: dict[str, Any], names: list[str], over: list[str]) -> dict[str, Any]:
    """Given values with the vocabularies that a search is to choose between.

    Args:
        given: Values that a user set, the recipes on offer among them.
        names: Of `--vocabularies`.
        over: The parts of `--search-over`, where it was given.

    Raises:
        KdnasError: One vocabulary and several are named.
    """
    if not names and VOCABULARY in over:
        names = list(USUAL)
    if not names:
        return given
    if given.get("vocabulary", TEACHERS) != TEACHERS:
        raise KdnasError("--vocabulary and --vocabularies contradict each other: give one of them")
    if len(names) == 1:  # nothing to choose
        left = [part for part in over if part != VOCABULARY]
        kept = {k: v for k, v in given.items() if k != "vocabularies"}
        return {**kept, **({"search_over": ",".join(left)} if left else {}), "vocabulary": names[0]}
    parts = over or split(str(given.get("search_over", SHAPE)))
    if not over and VOCABULARY not in parts:
        parts.append(VOCABULARY)
    return {
        "mini_score": AGREEMENT,
        **given,
        "search_over": ",".join(parts),
        "vocabularies": ",".join(names),
    }
