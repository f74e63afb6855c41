"""Assistants: pruned students, each of which teaches the next one.

Mirzadeh et al. 2020, Improved Knowledge Distillation via Teacher Assistant; of pruned students, the
path of Zhang et al. 2022, MiniDisc (there called MaxiDisc).
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from transformers import PreTrainedModel

from kdnas.evaluation.scores import scores_and_intervals
from kdnas.recipes.full import RecipeRun, run_recipe
from kdnas.runs.run_folder import Run
from kdnas.runtime.console import say
from kdnas.space import Candidate
from kdnas.space.candidate import TEACHERS_VOCABULARY
from kdnas.space.pruning import SPARSITIES
from kdnas.students.checkpoint import student_artifact
from kdnas.students.pruning import masked, masks, sliced
from kdnas.students.state import StudentState
from kdnas.teachers.head import to_standard_units
from kdnas.teachers.load import Teacher, load_teacher
from kdnas.workflow.prepare import Prepared

FOLDER = "assistants"
# Of the students that are trained in one network, as MiniDisc has them: not the lowest.
SANDWICH = SPARSITIES[1:]
# How much a sparsity of 1 counts beside a score.
LAMBDA = 0.2


def assistants_of(candidate: Candidate) -> list[Candidate]:
    """Those of a candidate, in the order in which they are trained; each is taught by the former.

    They read the teacher's own vocabulary.
    """
    found, pruning = list[Candidate](), candidate.pruning.assistant
    while pruning:
        one = replace(candidate, vocabulary=TEACHERS_VOCABULARY, pruning=pruning)
        found.insert(0, one)
        pruning = pruning.assistant
    return found


def place_of_assistant(run: Run, assistant: Candidate) -> Path:
    """The folder of an assistant's checkpoint."""
    return run.folder / FOLDER / f"assistant-{100 * assistant.pruning.sparsity:g}"


def place_of_found(run: Run) -> Path:
    """That of one whose sparsity is found out."""
    return run.folder / FOLDER / "assistant-auto"


def taught_by_assistant(prepared: Prepared, job: RecipeRun, candidate: Candidate) -> RecipeRun:
    """What a candidate is trained with: its last assistant, which is trained, as the teacher."""
    before, run = assistants_of(candidate), prepared.context.run
    if not (before or candidate.pruning.finds_assistant):
        return job
    folder = place_of_assistant(run, before[-1]) if before else place_of_found(run)
    teacher = assistant_teacher(prepared, folder)
    return replace(job, resources=replace(job.resources, task_teacher=teacher))


def assistant_teacher(prepared: Prepared, folder: Path) -> Teacher:
    """A student of the run as a teacher, in standard units; a pruned one in its dense form."""
    teacher = load_teacher(str(folder), prepared.inputs.data.spec)
    to_standard_units(teacher.model, prepared.teacher.scale)
    teacher.scale = prepared.teacher.scale
    teacher.model.to(prepared.context.runtime.device)  # type: ignore[arg-type]
    return teacher


def find_assistant(prepared: Prepared, candidate: Candidate, record: Mapping[str, Any]) -> None:
    """Trains students of several sparsities in one network, and keeps the one that teaches best.

    It has the largest score on training rows held out plus `LAMBDA` times its sparsity: MiniDisc's
    trade-off between a good teacher and one near to its student.

    Args:
        prepared: Of the run.
        candidate: What it will teach.
        record: What decides it, beside the sparsities.
    """
    context, teacher = prepared.context, prepared.teacher
    folder = place_of_found(context.run)
    aim = candidate.pruning.sparsity or max(SANDWICH)
    tried = [one for one in SANDWICH if one < aim] or [aim / 2]
    key = {**record, "sandwich": tried, "lambda": LAMBDA}
    artifact = student_artifact(folder, key, teacher.tokenizer, teacher.scale)
    if artifact.done():
        return
    pruned, work = prepared.mini.pruned, context.run.folder / "work" / folder.name
    assert pruned is not None, "made for a space with pruned students"
    order = pruned.order(candidate.pruning.shape)
    kept = {one: order.kept(order.at_sparsity(one)) for one in tried}
    with context.run.timed(f"distil {folder.name}"):
        network = copy.deepcopy(teacher.model).cpu()
        device = context.runtime.device
        parts = [partial(masked, of_paths=masks(network, one, device)) for one in kept.values()]
        job = replace(prepared.full(candidate.recipe), parts=parts)
        say(f"{folder.name}: distilling {len(tried)} sparsities in one network")
        state = run_recipe(job, candidate, work, folder.name, lambda: StudentState(network))
        students = {one: sliced(state.model.cpu(), left) for one, left in kept.items()}
        scores = {one: _score(prepared, student) for one, student in students.items()}
        best = choose_assistant(scores)
        told = ", ".join(f"{score:.4f} ({100 * one:g}%)" for one, score in scores.items())
        say(f"{folder.name}: {100 * best:g}% teaches; on held-out rows: {told}")
        artifact.write(students[best])
    shutil.rmtree(work, ignore_errors=True)


def choose_assistant(scores: Mapping[float, float]) -> float:
    """The sparsity of the best trade-off, of scores by sparsity; of equals, the first.

    Golden: 0.86 at 80%, 0.90 at 50%, 0.80 at 90%: 1.02, 1.00 and 0.98, so 80%.
    """
    return max(scores, key=lambda one: scores[one] + LAMBDA * one)


def _score(prepared: Prepared, student: PreTrainedModel) -> float:
    """The main score of a student on the training rows held out."""
    rows, spec = prepared.rows(TEACHERS_VOCABULARY), prepared.inputs.data.spec
    found = scores_and_intervals(
        *(student, {spec.evaluation[0]: rows.selection}, spec, prepared.context.runtime.exact),
        *(rows.pad_id, prepared.teacher.scale),
    )["scores"]
    return float(found.get(spec.main_score, fmean(found.values())))
