"""What makes the pruned students of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.stepwise import Stepwise

from kdnas.errors import MissedLimitError
from kdnas.files.artifact import Artifact
from kdnas.runs.run_folder import Run
from kdnas.space import Candidate, PrunedArchitecture, Pruning
from kdnas.space.pruning import gradually
from kdnas.students.build import build_student
from kdnas.students.checkpoint import load_student, student_artifact
from kdnas.students.pruning.speed import LatencyTable, neuron_levels
from kdnas.workflow.preparing.pruned import outdate_trained, pruned_students

ASKED = (1.3, 2.0)
TABLE = LatencyTable(
    38.0, 2.0, {n: float(n) for n in range(5)}, {n: n / 8 for n in neuron_levels(64)}, 3
)


def train_first(steps: Stepwise, scale: float) -> None:
    """Puts the first of a family in its place, the first 32 neurons of each layer so large."""
    whole = PrunedArchitecture.whole(steps.space.teacher)
    student = build_student(steps.teacher.model, whole)
    with torch.no_grad():
        for name, weights in student.named_parameters():
            if name.endswith("intermediate.dense.weight"):
                weights[:32] *= scale
    folder, key = steps.run.folder / "family" / "1.3x" / "student", {"recipe": scale}
    student_artifact(folder, key, steps.data.tokenizer).write(student)


def neurons_of_second(steps: Stepwise) -> set[int]:
    """The neurons that the second keeps, in a process of its own."""
    meter: Any = None
    made = pruned_students(steps.context, steps.inputs, steps.teacher, meter)
    made.table, made.speedup = lambda: TABLE, lambda _: 2.1
    second = gradually("magnitude", ASKED)[1]
    kept = made.order(second).kept(made.counts(second))
    return {int(neuron) for layer in kept.neurons for neuron in layer}


def test_what_was_trained_of_an_earlier_student_is_trained_again(
    make_run: Callable[..., Run],
) -> None:
    """What is pruned from a student begins with what is left of it."""
    steps = Stepwise(make_run(teacher_as_is=True, pruned="magnitude", speedups=ASKED))
    second, home = gradually("magnitude", ASKED)[1], steps.run.folder
    work, by_magnitude = home / "work" / "student", replace(second, after=())
    own = {"student": second, "controls/fine-tuned": second, "seeds/1/student": second}
    train_first(steps, 0.01)
    neurons_of_second(steps)
    kept = dict[str, Artifact[Any]]()
    meter: Any = None
    for scale in (None, 100.0):  # as it was, and trained again
        if scale:
            train_first(steps, scale)
        for name, pruning in {**own, "controls/by-magnitude": by_magnitude}.items():
            key = {"candidate": Candidate(steps.space.teacher, pruning=pruning).params}
            kept[name] = student_artifact(home / name, key, steps.data.tokenizer)
            kept[name].write(steps.teacher.model)
        work.mkdir(parents=True, exist_ok=True)
        made = pruned_students(steps.context, steps.inputs, steps.teacher, meter)
        outdate_trained(steps.context, made, second, home)
        assert [kept[name].done() for name in own] == [not scale] * 3
        assert work.exists() == (not scale) and kept["controls/by-magnitude"].done()
        assert all(load_student(home / name) for name in kept), "until others take their places"


def test_of_a_student_that_was_trained_again_others_go_first(make_run: Callable[..., Run]) -> None:
    """The second of a family is pruned by what matters in the first as it is now."""
    steps = Stepwise(make_run(teacher_as_is=True, pruned="magnitude", speedups=ASKED))
    found = []
    for scale in (0.01, 100.0, 100.0):
        train_first(steps, scale)
        found.append(neurons_of_second(steps))
    assert found[0] and min(found[0]) >= 32
    assert found[1] and max(found[1]) < 32
    assert found[1] == found[2]


def test_importance_is_measured_on_the_same_batches_on_every_device(
    make_run: Callable[..., Run],
) -> None:
    """A sum of absolute values over batches depends on which rows are in one."""
    steps = Stepwise(make_run(teacher_as_is=True, pruned="gradient", speedups=ASKED))
    sizes = []
    for device in ("cpu", "meta"):  # the latter in a GPU's place
        runtime: Any = SimpleNamespace(device=torch.device(device))
        meter: Any = None
        context = replace(steps.context, runtime=runtime)
        made = pruned_students(context, steps.inputs, steps.teacher, meter)
        sizes.append([batch.indices.tolist() for batch in made.rows()])
    assert sizes[0] == sizes[1] and len(sizes[0]) > 1


def test_a_speed_up_that_only_a_control_misses_ends_nothing(make_run: Callable[..., Run]) -> None:
    """The student that was asked for has to reach it; what it is compared with need not."""
    steps = Stepwise(make_run(teacher_as_is=True, pruned="ziplm", speedup=2.0))
    meter: Any = None
    made = pruned_students(steps.context, steps.inputs, steps.teacher, meter)
    made.table, made.speedup = (
        lambda: TABLE,
        lambda one: 1.9 if sum(one.num_attention_heads) == 1 else 1.5,
    )
    control = Pruning("magnitude", speedup=2.0)
    assert sum(made.counts(control).num_attention_heads) == 1
    with pytest.raises(MissedLimitError, match="no pruning reaches 2 times"):
        made.counts(replace(control, method="ziplm"))
