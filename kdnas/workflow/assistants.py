"""Assistants: pruned students, each of which teaches the next one.

Mirzadeh et al. 2020, Improved Knowledge Distillation via Teacher Assistant; of pruned students, the
path of Zhang et al. 2022, MiniDisc (there called MaxiDisc).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kdnas.recipes.full import RecipeRun
from kdnas.runs.run_folder import Run
from kdnas.space import Candidate
from kdnas.space.candidate import TEACHERS_VOCABULARY
from kdnas.teachers.head import to_standard_units
from kdnas.teachers.load import Teacher, load_teacher
from kdnas.workflow.prepare import Prepared

FOLDER = "assistants"


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


def taught_by_assistant(prepared: Prepared, job: RecipeRun, candidate: Candidate) -> RecipeRun:
    """What a candidate is trained with: its last assistant, which is trained, as the teacher."""
    before = assistants_of(candidate)
    if not before:
        return job
    teacher = assistant_teacher(prepared, place_of_assistant(prepared.context.run, before[-1]))
    return replace(job, resources=replace(job.resources, task_teacher=teacher))


def assistant_teacher(prepared: Prepared, folder: Path) -> Teacher:
    """A student of the run as a teacher, in standard units; a pruned one in its dense form."""
    teacher = load_teacher(str(folder), prepared.inputs.data.spec)
    to_standard_units(teacher.model, prepared.teacher.scale)
    teacher.scale = prepared.teacher.scale
    teacher.model.to(prepared.context.runtime.device)  # type: ignore[arg-type]
    return teacher
