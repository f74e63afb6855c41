"""What a plan is about: the teacher, the rows, and what is chosen from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

from kdnas.config import Settings
from kdnas.config.names import split
from kdnas.measure import count_params
from kdnas.runs.context import Context
from kdnas.runs.time_budget import TimeBudget
from kdnas.runtime.formatting import WIDTH, in_time
from kdnas.teachers.load import Teacher, name_of_base, name_of_teacher
from kdnas.workflow.preparing.given_teacher import is_tuned
from kdnas.workflow.preparing.inputs import Inputs
from kdnas.workflow.preparing.run_space import asked_candidates
from kdnas.workflow.preparing.selection_rows import for_students, selection_rows

LEGEND = "4x48 h3 f768 relu means layers x hidden size, heads, feed-forward size, activation"
LEGEND_OF_TWO = (
    "4+2x48 h3 f768 relu means layers x hidden size, heads, feed-forward size, activation; what is "
    "behind a + is the decoder's"
)
SHOWN_CLASSES = 4
# Options that a teacher is trained by.
OF_TRAINING = ("teacher_epochs", "teacher_lr", "teacher_folds")


@dataclass(frozen=True)
class Facts:
    """What a run reads and chooses from."""

    task: str
    rows: dict[str, int]  # train, selection, and each split that is reported
    classes: list[str] | None
    teacher: str
    teacher_params: int
    tunes_teacher: bool
    tuned_in_cache: bool  # whether it was fine-tuned for another run
    student: str | None = None  # the given shape; None of a search, which follows:
    space: int | None = None
    trials: int | None = None
    trials_left: float = 0.0
    sampler: str | None = None
    budget: str | None = None  # the time that all of it may take
    recipes: int = 1  # to choose from
    rungs: int = 1  # of successive halving
    reserve: float = 0.0  # seconds of the budget that are planned for nothing
    learns_from: tuple[str, ...] = ()  # earlier runs
    embedding_sizes: tuple[int, ...] = ()  # of factorised embeddings
    has_decoder: bool = False  # the teacher, and so its students

    @property
    def students(self) -> dict[str, str]:
        """What is distilled: one shape, or the best of many."""
        sizes = ", ".join(map(str, self.embedding_sizes))
        narrow = {"embeddings": f"factorised, of width {sizes} (e{sizes.split(',')[0]} in a label)"}
        narrow = narrow if sizes else {}
        legend = LEGEND_OF_TWO if self.has_decoder else LEGEND
        if self.student:
            return {"student": f"{self.student}; {legend}", **narrow}
        about = "" if self.budget is None else "about "
        count = math.ceil(self.trials_left)  # with rungs a part of a training may be left
        left = f"{about}{count} to be tried" if count else "none left to try"
        found = {"candidates": f"{self.space:,}, {left} ({self.sampler}); {legend}", **narrow}
        if self.recipes > 1:
            found["recipes"] = f"{self.recipes}; full trainings as by the one that takes longest"
        if self.rungs > 1:
            found["rungs"] = f"{self.rungs}: all train a little, the better part goes on"
        if self.reserve:
            found["reserve"] = f"{in_time(self.reserve, rough=True)} of --budget {self.budget}"
        if self.learns_from:
            found["learns"] = f"from {', '.join(self.learns_from)}"
        return found


def planned_facts(
    context: Context, inputs: Inputs, given: Teacher, left: float, tuning: Mapping[str, Any]
) -> Facts:
    """Those of a run with so many trials left; `tuning` says how its teacher gets its head."""
    settings, data, spec = context.settings, inputs.data, inputs.data.spec
    rows = {
        "train": for_students(data, settings).train.row_count,
        "selection": selection_rows(data, settings).row_count,
        **{
            f"reported ({split if split != data.stands_in else 'a held-out tenth'})": part.row_count
            for split, part in data.evaluation.items()
        },
    }
    chosen: dict[str, Any] = {}
    if not settings.searches:
        asked = asked_candidates(inputs.space)
        chosen["student"] = ", then ".join(candidate.label for candidate in asked)
    else:
        trials = settings.trials if settings.ends_by_trials else None
        chosen = {"space": len(inputs.space.candidates), "trials": trials, "trials_left": left}
        chosen |= {"sampler": settings.sampler, "budget": settings.budget}
        chosen["recipes"] = len(inputs.space.every_recipe)
        chosen["rungs"] = settings.rungs
        chosen["reserve"] = TimeBudget(settings.budget_seconds).reserve
        chosen["learns_from"] = tuple(split(settings.learn_from or ""))
    return Facts(
        task=spec.name,
        rows=rows,
        classes=None if spec.labels is None else [str(label) for label in spec.labels],
        teacher=_teacher_in_words(settings, inputs),
        teacher_params=count_params(given.model),
        embedding_sizes=inputs.space.embedding_sizes,
        has_decoder=inputs.space.teacher.num_decoder_layers > 0,
        **tuning,
        **chosen,
    )


def _teacher_in_words(settings: Settings, inputs: Inputs) -> str:
    """Its name and shape; of a black box the file, and the model that students start from."""
    name, shape, base = (
        name_of_teacher(settings),
        inputs.space.teacher.label,
        name_of_base(settings),
    )
    return (
        f"{Path(name).name}, {shape}"
        if base is None
        else f"predictions in {name}; student base {Path(base).name}, {shape}"
    )


def without_effect(context: Context, inputs: Inputs, given: Teacher) -> str | None:
    """Says which options of fine-tuning were given for a teacher that is used as it is."""
    settings = context.settings
    unused = [name for name in OF_TRAINING if name in settings.model_fields_set]
    if not unused or is_tuned(context, inputs, given):
        return None
    told = ", ".join(f"--{name.replace('_', '-')}" for name in unused)
    if settings.teacher_as_is or given.recorded:
        return f"{told}: without effect, the teacher is not trained"
    return (
        f"{told}: without effect, the teacher has a head for the task and is used as it is; "
        "--fine-tune trains it"
    )


def classes(names: list[str] | None) -> str:
    """How many there are, and the first of them."""
    if names is None:
        return ""
    shown = ", ".join(names[:SHOWN_CLASSES]) + (", ..." if len(names) > SHOWN_CLASSES else "")
    return f", {len(names)} classes ({shown})"


def column(label: str, text: str) -> list[str]:
    """A text beside its label."""
    first, *more = wrap(text, WIDTH - 13)
    return [f"  {label:<11}{first}", *(f"{'':<13}{line}" for line in more)]
