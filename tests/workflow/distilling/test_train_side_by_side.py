"""Students that are trained in full side by side, as they would be one after the other."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.processes import kdnas_child
from support.stepwise import Stepwise

from kdnas.files.artifact import content_of, key_of
from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.runs.time_budget import TimeBudget
from kdnas.runtime.console import following
from kdnas.runtime.plan import Plan, Step
from kdnas.runtime.side_by_side import can_fork
from kdnas.space import Candidate
from kdnas.workflow.another_trial import distil_another
from kdnas.workflow.distilling.distil import FullTraining
from kdnas.workflow.distilling.finalists import distil_finalists
from kdnas.workflow.distilling.train_side_by_side import _is_faster_alone, train_side_by_side
from kdnas.workflow.preparing.inputs import read_inputs
from kdnas.workflow.preparing.prepare import Prepared

MakeRun = Callable[..., Run]
WEIGHTS = "model.safetensors"
pytestmark = pytest.mark.skipif(
    not can_fork(torch.device("cpu")), reason="processes are not forked here"
)


def checkpoints(run: Path) -> dict[str, Path]:
    """Folders of students below a run folder, by their names."""
    found = [path.parent for path in run.rglob(WEIGHTS)]
    students = [path for path in found if path.name not in ("teacher", "work")]
    return {path.relative_to(run).as_posix(): path for path in students}


def trainings(pipeline: Stepwise, count: int) -> list[FullTraining]:
    """Of the largest student: with labels alone, and distilled with one seed after another."""
    candidate, run = Candidate(pipeline.space.largest), pipeline.run.folder
    tuned = FullTraining(
        candidate, run / "controls" / "fine-tuned", step="control", distilled=False
    )
    student = FullTraining(candidate, run / "student")
    seeds = [
        replace(student, folder=run / "seeds" / str(seed) / "student", seed=seed)
        for seed in range(1, count - 1)
    ]
    return [student, tuned, *seeds][:count]


def with_time(prepared: Prepared, seconds: float, names: list[str]) -> Prepared:
    """With so many seconds left, where each of some steps takes ten."""
    plan = Plan([Step(name, name, {"hidden": 10.0}, "student") for name in names])
    budget = TimeBudget(seconds, lambda: 0.0, plan)
    return replace(prepared, context=replace(prepared.context, time=budget))


def test_all_but_a_last_one_are_trained_and_told(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = Stepwise(make_run(jobs=2))
    due = trainings(pipeline, 3)
    names = [one.step_name(pipeline.run) for one in due]
    assert names == ["distil student", "control fine-tuned", "distil student seed 1"]
    with following(plan := Plan([Step(n, n, {"hidden": 1.0}, "student") for n in names])):
        train_side_by_side(pipeline.prepared, due)
    assert [one.done(pipeline.settings) for one in due] == [True, True, False]
    assert [step.done for step in plan.steps] == [True, True, False] and not plan.running
    told = capsys.readouterr().out
    assert "2 students side by side, one thread each (--jobs)" in told
    assert told.count("step 1 of 3: distil student") == 1
    assert told.count("step 2 of 3: control fine-tuned") == 1
    assert {"distil student", "control fine-tuned"} <= pipeline.run.seconds().keys()
    assert not list((pipeline.run.folder / "work").rglob("*.pt"))
    before = content_of(due[0].folder)
    train_side_by_side(pipeline.prepared, due)  # one is missing, which needs no other process
    assert content_of(due[0].folder) == before and not due[2].done(pipeline.settings)


@pytest.mark.parametrize(
    ("seconds", "faster"),
    [
        ([10.0, 10.0, 10.0], True),  # 13 and then 10 seconds, in place of 26
        ([20.0, 10.0, 10.0], False),  # 26 seconds beside 13 and 13, in place of 26 and 10
        ([10.0, 0.0, 5.0], True),  # of one nobody knows: as if all were equally long
    ],
)
def test_the_last_is_trained_alone_where_all_then_end_sooner(
    make_run: MakeRun, seconds: list[float], faster: bool
) -> None:
    context = open_context(make_run(jobs=2))
    student = Candidate(read_inputs(context).space.largest)
    due = [FullTraining(student, context.run.folder / str(i)) for i in range(3)]
    steps = [
        Step(one.step_name(context.run), "", {"hidden": each}, slower=1.3)
        for one, each in zip(due, seconds, strict=True)
    ]
    timed = replace(context, time=TimeBudget(plan=Plan(steps)))
    assert _is_faster_alone(timed, due, 2) is faster


def test_what_there_may_be_no_time_for_is_not_begun(make_run: MakeRun) -> None:
    pipeline = Stepwise(make_run(jobs=2))
    due = trainings(pipeline, 4)
    names = [one.step_name(pipeline.run) for one in due]
    short = with_time(pipeline.prepared, 19.0, names)
    train_side_by_side(short, due)  # beside another, one may take 20 s
    assert not any(one.done(pipeline.settings) for one in due)
    assert not (pipeline.run.folder / "student").exists()
    enough = with_time(pipeline.prepared, 21.0, names[:2])
    enough.context.time.plan.steps.append(Step(names[2], names[2], {"hidden": 99.0}))
    train_side_by_side(enough, due)
    assert [one.done(pipeline.settings) for one in due] == [True, True, False, False]


@dataclass(frozen=True)
class Killed(FullTraining):
    """Is killed in every process but one."""

    main: int = 0

    def fill(self, prepared: Prepared) -> None:
        """Trains the student in the main process alone."""
        if os.getpid() != self.main:
            os.kill(os.getpid(), signal.SIGKILL)
        super().fill(prepared)


def test_what_a_killed_process_trained_is_left_to_do(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = Stepwise(make_run(jobs=2))
    first, second = trainings(pipeline, 2)
    killed = Killed(first.candidate, first.folder, main=os.getpid())
    train_side_by_side(pipeline.prepared, [killed, second])
    assert "was killed by signal 9; what it worked on is done again" in capsys.readouterr().out
    assert second.done(pipeline.settings) and not killed.done(pipeline.settings)
    killed.fill(pipeline.prepared)
    assert killed.done(pipeline.settings)


def test_controls_are_trained_beside_a_single_finalist(make_run: MakeRun) -> None:
    pipeline = Stepwise(make_run(jobs=2, trials=2, sampler="tpe", cost="macs"))
    pipeline.search()
    distil_finalists(pipeline.prepared, pipeline.open_study())
    made = checkpoints(pipeline.run.folder)
    assert "student" in made and len(made) > 1
    before = {(folder / WEIGHTS).read_bytes() for folder in made.values()}
    report = pipeline.everything()
    after = checkpoints(pipeline.run.folder).values()  # another may ship, and change places
    assert before <= {(folder / WEIGHTS).read_bytes() for folder in after}
    assert report.controls


def test_another_trials_controls_are_trained_beside_its_student(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = Stepwise(make_run(jobs=2, trials=2, sampler="tpe", cost="macs"))
    pipeline.search()
    capsys.readouterr()
    distil_another(pipeline.context, 1, None)
    told = capsys.readouterr().out
    assert told.index("2 students side by side") < told.index("trial-1 student: distilling")


def search_with(make_run: MakeRun, jobs: int, out: Path, finalists: int = 2) -> Run:
    """A search of two trials and all that is trained in full."""
    students = {"random_control": "full", "finalists": finalists, "final_seeds": 2}
    return make_run(trials=2, sampler="tpe", jobs=jobs, out=out, screen=2, cost="macs", **students)


@pytest.mark.slow
@pytest.mark.parametrize("finalists", [1, 2])
def test_a_search_ends_with_the_students_of_one_process(
    make_run: MakeRun, tmp_path: Path, finalists: int
) -> None:
    searched = search_with(make_run, 1, tmp_path / "searched", finalists)
    Stepwise(searched).search()
    found = dict[int, dict[str, Path]]()
    for jobs in (1, 2):
        out = Path(shutil.copytree(searched.folder, tmp_path / str(jobs)))
        Stepwise(Run.open(out, jobs=jobs)).everything()
        found[jobs] = checkpoints(out)
    one, two = found[1], found[2]
    assert one.keys() == two.keys() and {"seeds/1/hand-picked", "controls/random-search"} <= {*one}
    for name, folder in one.items():
        if "hand-picked" in name:  # the one that is as fast, by latencies that scatter
            continue
        assert key_of(two[name]) == key_of(folder)
        ours, theirs = (load_file(at / WEIGHTS) for at in (folder, two[name]))
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_goes_on(
    make_run: MakeRun, tmp_path: Path, number: signal.Signals
) -> None:
    run = search_with(make_run, 2, tmp_path / "run")
    child = kdnas_child("resume", run.folder)
    log = run.folder / "log.jsonl"

    def both() -> bool:
        text = log.read_text() if log.exists() else ""
        return '"step": "distil finalist 2"' in text and '"step": "distil student"' in text

    child.wait_until(both)
    child.kill(number)
    assert child.wait() == (130 if number == signal.SIGINT else -9), child.output
    assert "Traceback" not in child.output
    Stepwise(Run.open(run.folder)).everything()
    names = checkpoints(run.folder).keys()
    assert {"student", "controls/fine-tuned", "seeds/1/student", "seeds/1/random-search"} <= names
    assert not list((run.folder / "work").rglob("*.pt"))
