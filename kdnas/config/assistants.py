"""Who teaches a student in its teacher's place, as a person says it: `trial-3,0.8`, or `auto`.

A word is the sparsity of a pruned student that is trained for this, a trial of the run, or the
folder of a checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kdnas.config.names import split

AUTO = "auto"
EXPECTED = (
    "expected sparsities with commas between them, such as 0.6,0.8 or 60%,80%; a trial of the run, "
    "such as trial-3, or the folder of a checkpoint may stand first"
)


def assistants_in(text: str | None) -> tuple[str, ...]:
    """The words of a list; the same sparsity or trial is spelled alike."""
    return tuple(map(_spelled, split(text or "")))


def sparsity_of(word: str) -> float | None:
    """That of an assistant that is pruned for this, 0.6 or 60%; None of another one."""
    try:
        return float(word[:-1]) / 100 if word.endswith("%") else float(word)
    except ValueError:
        return None


def trial_of(word: str) -> int | None:
    """The number of the trial that an assistant is; None of another one."""
    found = re.fullmatch(r"trial-(\d{1,9})", word)
    return int(found[1]) if found else None


def is_checkpoint(word: str) -> bool:
    """Whether an assistant is the folder of a checkpoint."""
    return word != AUTO and sparsity_of(word) is None and trial_of(word) is None


def name_of(word: str) -> str:
    """Short name: `60%`, `trial-3`, and of the folder of a checkpoint the last part that says much.

    A run's student is in RUN/student.
    """
    if (share := sparsity_of(word)) is not None:
        return f"{100 * share:g}%"
    if not is_checkpoint(word):
        return word
    place = Path(word)
    return place.parent.name if place.name == "student" and place.parent.name else place.name


def in_words(words: Sequence[str]) -> str:
    """Their short names, with commas between them."""
    return ",".join(map(name_of, words))


def problem_of_assistants(
    words: Sequence[str], sparsity: float | None = None, *, pruned: bool = True
) -> str | None:
    """What is wrong with a list, in words; None: nothing is.

    Args:
        words: As `assistants_in` reads them.
        sparsity: That of the student, where it has one.
        pruned: Whether the student is pruned; else no assistant is.
    """
    found = [share for word in words if (share := sparsity_of(word)) is not None]
    problem = _of_words(words)
    if not problem and any(not 0 < share < 1 for share in found):
        problem = "expected shares above 0 and below 1, such as 0.6,0.8 or 60%,80%"
    elif not problem and not pruned and (found or AUTO in words):
        problem = (
            "sparsities are those of pruned students, and this one is not pruned; give a trial, "
            "such as trial-3, or the folder of a checkpoint"
        )
    least = [] if sparsity is None else [sparsity]
    if not problem and found + least != sorted({*found, *least}):
        problem = "give each once, the lowest first, and all below --sparsity"
    return problem and f"invalid --assistants {','.join(words)}: {problem}"


def _of_words(words: Sequence[str]) -> str | None:
    """What is no assistant, or cannot stand beside the others."""
    if AUTO in words and len(words) > 1:
        return f"{AUTO} finds the only assistant; leave the others out"
    for word in words:
        if is_checkpoint(word) and "/" not in word and not Path(word).is_dir():
            return f"{EXPECTED}; there is no folder {word!r}"
    made = [word for word in words if word != AUTO and sparsity_of(word) is None]
    if len(made) > 1 or any(words.index(word) for word in made):
        return f"{made[-1]} is a student already and learns from none; let it stand first"
    return None


def _spelled(word: str) -> str:
    if (share := sparsity_of(word)) is not None:
        return f"{share:g}"
    number = trial_of(word)
    return word if number is None else f"trial-{number}"
