"""Who teaches a student in its teacher's place, as a person says it: `trial-3,4x384`, or `auto`.

A word is the shape of a student that is trained for this, the sparsity of a pruned one, a trial of
the run, or the folder of a checkpoint. What reads as a shape is one, whatever folders there are: so
a run goes on from anywhere as it began. A folder that is called like a shape has a slash, `./half`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from kdnas.config.names import split
from kdnas.config.shape import Shape, read_shape, shape_text

AUTO = "auto"
EXPECTED = (
    "expected sparsities with commas between them, such as 0.6,0.8 or 60%,80%, or shapes, such as "
    "4x384; a trial of the run, such as trial-3, or the folder of a checkpoint may stand first"
)


def assistants_in(text: str | None) -> tuple[str, ...]:
    """The words of a list; the same sparsity, trial or shape is spelled alike."""
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


def shape_in(word: str) -> Shape | None:
    """What is given of the shape of an assistant, `4x384`; None of another one.

    A number alone is a sparsity.
    """
    if "/" in word or sparsity_of(word) is not None:
        return None
    try:
        return read_shape(word)
    except ValueError:
        return None


def is_trained_for_this(word: str) -> bool:
    """Whether an assistant is made for the student that it teaches: of a sparsity or a shape."""
    return sparsity_of(word) is not None or shape_in(word) is not None


def is_checkpoint(word: str) -> bool:
    """Whether an assistant is the folder of a checkpoint."""
    return word != AUTO and trial_of(word) is None and not is_trained_for_this(word)


def name_of(word: str) -> str:
    """Short name: `60%`, `trial-3`, of a shape `4x384`, of a folder the last part that says much.

    A run's student is in RUN/student.
    """
    if (share := sparsity_of(word)) is not None:
        return f"{100 * share:g}%"
    if shape_in(word) is not None:
        return word.partition("-")[0]
    if not is_checkpoint(word):
        return word
    place = Path(word)
    return place.parent.name if place.name == "student" and place.parent.name else place.name


def in_words(words: Sequence[str]) -> str:
    """Their short names, with commas between them."""
    return ",".join(map(name_of, words))


def as_given(words: Sequence[str]) -> str:
    """The list as a person gave it, or nearly so: shapes without what was left out."""
    return ",".join(word if shape_in(word) is None else name_of(word) for word in words)


def in_a_path(words: Sequence[str]) -> str:
    """The list in the name of a folder: `60-80`. Of shapes all is said, so that none is another."""
    parts = (word if shape_in(word) is not None else name_of(word).strip("%") for word in words)
    return "-".join(parts)


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
        problem = (
            "expected shares above 0 and below 1, such as 0.6,0.8 or 60%,80%; of a shape give the "
            "hidden size, too, such as 4x384"
        )
    elif not problem and not pruned and (found or AUTO in words):
        problem = (
            "sparsities are those of pruned students, and this one is not pruned; give shapes, "
            "such as 4x384, a trial, such as trial-3, or the folder of a checkpoint"
        )
    least = [] if sparsity is None else [sparsity]
    if not problem and found + least != sorted({*found, *least}):
        problem = "give each once, the lowest first, and all below --sparsity"
    return problem and f"invalid --assistants {as_given(words)}: {problem}"


def _of_words(words: Sequence[str]) -> str | None:
    """What is no assistant, or cannot stand beside the others."""
    if AUTO in words and len(words) > 1:
        return f"{AUTO} finds the only assistant; leave the others out"
    for word in words:
        if is_checkpoint(word) and "/" not in word and not Path(word).is_dir():
            return f"{EXPECTED}; there is no folder {word!r}"
    made = [word for word in words if trial_of(word) is not None or is_checkpoint(word)]
    if len(made) > 1 or any(words.index(word) for word in made):
        return f"{made[-1]} is a student already and learns from none; let it stand first"
    return None


def _spelled(word: str) -> str:
    if (share := sparsity_of(word)) is not None:
        return f"{share:g}"
    if (shape := shape_in(word)) is not None:
        return shape_text(shape)
    number = trial_of(word)
    return word if number is None else f"trial-{number}"
