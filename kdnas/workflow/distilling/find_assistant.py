"""An assistant whose sparsity is found out: several are trained in one network.

Zhang et al. 2022, MiniDisc.
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

from kdnas.errors import KdnasError
from kdnas.evaluation.scores import scores_and_intervals
from kdnas.recipes.full import run_recipe
from kdnas.runtime.console import say
from kdnas.runtime.formatting import several
from kdnas.space import Architecture, Candidate, PrunedArchitecture, Pruning
from kdnas.space.candidate import TEACHERS_VOCABULARY
from kdnas.space.pruning import SPARSITIES
from kdnas.students.checkpoint import student_artifact
from kdnas.students.configs import as_whole
from kdnas.students.pruning import masked, masks, sliced
from kdnas.students.state import StudentState
from kdnas.workflow.distilling.assistants import step_of
from kdnas.workflow.preparing.prepare import Prepared

# Of the students that are trained in one network, as MiniDisc has them: not the lowest.
SANDWICH = SPARSITIES[1:]
# How much a sparsity of 1 counts beside a score.
LAMBDA = 0.2


def find_assistant(
    prepared: Prepared, candidate: Candidate, folder: Path, record: Mapping[str, Any]
) -> None:
    """Trains students of several sparsities in one network, and keeps the one that teaches best.

    It has the largest score on training rows held out plus `LAMBDA` times its sparsity: MiniDisc's
    trade-off between a good teacher and one near to its student.

    Args:
        prepared: Of the run.
        candidate: What it will teach.
        folder: Gets its checkpoint.
        record: What decides it, beside the sparsities.

    Raises:
        KdnasError: None is between the teacher and what it will teach.
    """
    context, teacher = prepared.context, prepared.teacher
    pruned, work = prepared.mini.pruned, context.run.folder / "work" / folder.name
    assert pruned is not None, "made for a space with pruned students"
    counts = pruned.counts(candidate.pruning) if candidate.pruning.speedup else None
    tried = sparsities_between(teacher.architecture, candidate.pruning, counts)
    key = {**record, "sandwich": tried, "lambda": LAMBDA}
    artifact = student_artifact(folder, key, teacher.tokenizer, teacher.scale)
    if artifact.done():
        return
    order = pruned.order(replace(candidate.pruning, layers=0))  # an assistant has all layers
    kept = {one: order.kept(order.at_sparsity(one)) for one in tried}
    with context.run.timed(step_of(folder)):
        network = whole_network(teacher.model)
        device = context.runtime.device
        parts = [partial(masked, of_paths=masks(network, one, device)) for one in kept.values()]
        job = replace(prepared.full(candidate.recipe), parts=parts)
        say(f"{folder.name}: distilling {several(len(tried), 'pruned student')} in one network")
        state = run_recipe(job, candidate, work, folder.name, lambda: StudentState(network))
        students = {one: sliced(state.model.cpu(), left) for one, left in kept.items()}
        scores = {one: _score(prepared, student) for one, student in students.items()}
        best = choose_assistant(scores)
        told = ", ".join(f"{score:.4f} ({100 * one:g}%)" for one, score in scores.items())
        say(f"{folder.name}: {100 * best:g}% teaches; on held-out rows: {told}")
        artifact.write(students[best])
    shutil.rmtree(work, ignore_errors=True)


def whole_network(teacher: PreTrainedModel) -> PreTrainedModel:
    """A copy of a teacher on the CPU in which all assistants are trained.

    Of a teacher that is itself a pruned student it is dense, with zeros, and trained as a whole
    network: its config must not say that it is a pruned one.
    """
    network = copy.deepcopy(teacher).cpu()
    as_whole(network.config)
    return network


def sparsities_between(
    teacher: Architecture, pruning: Pruning, counts: PrunedArchitecture | None = None
) -> list[float]:
    """The sparsities of assistants that are larger than a student pruned from a teacher.

    Assistants keep all layers: of a student that does not, those count as pruned.

    Args:
        teacher: What is pruned.
        pruning: The student's.
        counts: What a speed-up leaves; not needed for a sparsity.

    Raises:
        KdnasError: Nothing of the teacher is pruned, so that none is between them.
    """
    depth = pruning.layers or teacher.num_hidden_layers
    asked = (1 - pruning.sparsity) * depth / teacher.num_hidden_layers
    aim = round(1 - (asked if counts is None else counts.share_of(teacher)), 9)
    if aim <= 0:
        raise KdnasError(
            f"invalid --assistants auto: {pruning.target} leaves all of the teacher, and no "
            "assistant is between them; leave --assistants out, or prune further"
        )
    return [one for one in SANDWICH if one < aim] or [aim / 2]


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
    return float(found.get(spec.main_score, fmean([*found.values()] or [0.0])))
