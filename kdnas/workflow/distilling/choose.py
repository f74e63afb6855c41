"""Which of the students that were trained in full ships: the best on rows that none trained on."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from kdnas.evaluation.scores import rows_of_model, scores_of_rows
from kdnas.files.artifact import content_of, damage, key_of
from kdnas.files.atomic import move, replace_folder
from kdnas.report.model import Selection
from kdnas.report.verdict import OWN
from kdnas.runs.context import Context, run_step
from kdnas.runs.student import ASIDE
from kdnas.runtime.console import say
from kdnas.scoring.limits import Limits
from kdnas.space.candidate import TEACHERS_VOCABULARY
from kdnas.students.checkpoint import student_artifact
from kdnas.study.winner import Winner
from kdnas.tasks.comparison import difference
from kdnas.workflow.distilling.measure import Control, measured, saved_model
from kdnas.workflow.preparing.prepare import Prepared
from kdnas.workflow.preparing.records import record_of

# Half the width of a 95% interval, in standard errors.
NORMAL = 1.96
# A choice on fewer rows is said to be unsure.
FEW = 50
# Where the run's own student is while another ships, if its shape was given.
GIVEN_ASIDE = Path("controls") / "distilled"


@dataclass(frozen=True)
class Choice:
    """The student that ships, where its checkpoint was made, the others, and why it is this one."""

    shipped: Control
    others: list[Control]
    selection: Selection | None = None


def aside_of(winner: Winner) -> Path:
    """Below a report's folder, where the winner's checkpoint is while another student ships."""
    return GIVEN_ASIDE if winner.trial is None else ASIDE


def checkpoint_of(context: Context, winner: Winner, home: Path | None = None) -> Path:
    """Where the winner's student is or will be: aside, where another ships.

    `home` is the folder of its report; default: the run's.
    """
    home = home or context.run.folder
    record = record_of(context.settings, winner.candidate, winner.trial)
    aside = home / aside_of(winner)
    return aside if student_artifact(aside, record).done() else home / "student"


def best_seed(prepared: Prepared, made: Control) -> Control:
    """A student of which the training that is best on held-out training rows counts.

    The first does where the rows have no labels.
    """
    rows = prepared.rows(TEACHERS_VOCABULARY).selection
    if len(made.trainings) < 2 or rows.labels is None:
        return made
    each = {seed: replace(made, folder=at) for seed, at in made.trainings.items()}
    scores = {seed: held_out_score(prepared, one) for seed, one in each.items()}
    best = max(scores, key=scores.__getitem__)
    told = ", ".join(f"{score:.4f} (seed {seed})" for seed, score in scores.items())
    say(f"{made.name}: seed {best} counts; {rows.row_count} held-out rows: {told}")
    return each[best]


def choose_student(prepared: Prepared, made: Sequence[Control]) -> Choice:
    """The best of some students on held-out training rows; the first is the run's own.

    That one ships unless another is above it by more than the standard error of their difference:
    held-out rows are few. Of others that are equal there the fastest ships. Those that break a
    limit cannot be chosen, nor can any where the rows have no labels.
    """
    first = made[0]
    rows = prepared.rows(TEACHERS_VOCABULARY).selection
    if rows.labels is None:
        return Choice(first, list(made[1:]))
    limits = Limits.of(prepared.context.settings, first.candidate.pruning)
    allowed = [first, *(one for one in made[1:] if _keeps(limits, prepared, one))]
    scores = {one.name: held_out_score(prepared, one) for one in allowed}
    clear = [first, *(one for one in allowed[1:] if is_clearly_better(prepared, one, first))]
    equal = [one for one in clear if scores[one.name] == max(scores[c.name] for c in clear)]
    best = equal[0] if len(equal) == 1 else max(equal, key=lambda one: _speedup(prepared, one))
    if best is not first:
        others = ", ".join(one.name for one in equal if one is not best)
        tie = f" (as {others}, slower)" if others else ""
        few = "; so few rows tell little" if rows.row_count < FEW else ""
        say(
            f"{best.name} ships: on {rows.row_count} training rows held out it scores "
            f"{scores[best.name]:.4f}{tie}, {OWN.get(first.name, first.name)} "
            f"{scores[first.name]:.4f}{few}"
        )
    selection = Selection(rows=rows.row_count, shipped=best.name, scores=scores)
    return Choice(best, [one for one in made if one is not best], selection)


def ship(choice: Choice, home: Path, own: Path = ASIDE) -> Choice:
    """Puts the student that ships in `home`/student; the run's own, if another, goes to `own`."""
    student, aside = home / "student", home / own
    shipped = choice.shipped
    if shipped.folder in (student, aside):
        if shipped.folder == aside:
            move(aside, student)
        return replace(choice, shipped=_moved(shipped, aside, student))
    others = list(choice.others)
    if any(student in one.trainings.values() for one in (shipped, *others)):
        move(student, aside)
    shipped, *others = (_moved(one, student, aside) for one in (shipped, *others))
    whole = key_of(student) == key_of(shipped.folder) and damage(student) is None
    if not whole or content_of(student) != content_of(shipped.folder):
        with replace_folder(student) as partial:
            shutil.copytree(shipped.folder, partial, dirs_exist_ok=True)
    return Choice(shipped, others, choice.selection)


def _moved(made: Control, before: Path, now: Path) -> Control:
    """A student one of whose checkpoints was moved."""
    places = {seed: now if at == before else at for seed, at in made.trainings.items()}
    folder = now if made.folder == before else made.folder
    return replace(made, folder=folder, trainings=places)


def is_clearly_better(prepared: Prepared, one: Control, first: Control) -> bool:
    """Whether a student is above another by more than a standard error, on the same rows."""
    spec = prepared.inputs.data.spec
    found = difference(spec, *(_on_held_out_rows(prepared, each)["rows"] for each in (one, first)))
    if found is None:
        return held_out_score(prepared, one) > held_out_score(prepared, first)
    low, high = found.interval
    return found.value > (high - low) / (2 * NORMAL)


def _speedup(prepared: Prepared, one: Control) -> float:
    return float(measured(prepared, one.candidate, one.folder)["costs"]["speedup"])


def _keeps(limits: Limits, prepared: Prepared, control: Control) -> bool:
    if not limits:
        return True
    costs = measured(prepared, control.candidate, control.folder)["costs"]
    return limits.keeps(costs["speedup"], costs["params"])


def held_out_score(prepared: Prepared, made: Control) -> float:
    """A student's main score on the training rows held out.

    The run keeps what it says there, not the score: a task may have other metrics later.
    """
    spec = prepared.inputs.data.spec
    scores = scores_of_rows(spec, _on_held_out_rows(prepared, made)["rows"])
    score = scores.get(spec.main_score, fmean([*scores.values()] or [0.0]))
    return score if math.isfinite(score) else 0.0


def _on_held_out_rows(prepared: Prepared, control: Control) -> dict[str, Any]:
    """What a student says of the training rows held out, as `rows`."""
    data, folder = prepared.inputs.data, control.folder
    own = prepared.rows(control.candidate.vocabulary)

    def compute() -> dict[str, Any]:
        model = saved_model(folder, data.spec)
        split, exact = data.spec.evaluation[0], prepared.context.runtime.exact
        rows = {split: own.selection}
        return {"rows": rows_of_model(model, rows, data.spec, exact, own.pad_id)}

    parts = folder.relative_to(prepared.context.run.folder).parts
    key = {"content": content_of(folder), "rows": own.selection.fingerprint()}
    result: dict[str, Any] = run_step(prepared.context, " ".join(("select", *parts)), key, compute)
    return result
