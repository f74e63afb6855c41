"""What is said before and while a long job runs; a dry run stops there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from conftest import Said
from optuna.trial import create_trial
from support.tiny import small_config
from support.tiny_writers import save_captions, save_writer

from kdnas.config import Settings, load_settings
from kdnas.files import disk
from kdnas.runs import clock
from kdnas.runs.context import Context, open_context
from kdnas.runs.run_folder import Run
from kdnas.runtime.plan import Step
from kdnas.scoring.limits import Limits
from kdnas.space import NOT_PRUNED, Pruning, SearchSpace
from kdnas.space.arithmetic import arithmetic
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.workflow.pipeline import plan_search
from kdnas.workflow.planning import forecast as of_forecasts
from kdnas.workflow.planning.disk import disk_needed
from kdnas.workflow.planning.estimate import Estimate, share_asked
from kdnas.workflow.planning.forecast import forecast, share_of_time
from kdnas.workflow.planning.planned_facts import LEGEND
from kdnas.workflow.planning.probe import Speeds, usual_shape
from kdnas.workflow.planning.trainings import Training, trained_in_full
from kdnas.workflow.preparing.inputs import Inputs, load_given_teacher, read_inputs
from kdnas.workflow.preparing.prepare import prepare_full_kd, prepare_teacher
from kdnas.workflow.preparing.selection_rows import for_students
from kdnas.workflow.searching.allot import Allotment


def files_in(folder: Path) -> dict[str, bytes]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): path.read_bytes() for path in found}


def test_a_dry_run_of_a_search_says_all_and_leaves_nothing(
    command: Said, quick_flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))  # without a teacher of other tests
    out = tmp_path / "run"
    given = ("search", *quick_flags, "--trials", 3, "--out", out, "--dry-run")
    assert command(*given) == (0, "")
    told = command.all
    assert "plan: 8 steps, about " in told and "mrpc, 2 classes (not_equivalent, equi" in told
    assert re.search(r"rows +233 train, 7 selection, 40 reported \(validation\)", told)
    assert "to be fine-tuned" in told and "576, 3 to be tried (gp)" in told
    assert LEGEND in " ".join(told.split())
    assert re.search(r"steps +1 fine-tune the teacher +about \d", told)
    assert re.search(r"disk +at most [\d.]+ [kM]B in .*, [\d.]+ GB free", told)
    assert max(map(len, told.splitlines())) <= 80 + len(str(out))
    assert not out.exists()
    assert command(*given, "--json")[0] == 0
    text = command.all[command.all.index("\n{") :]
    described = json.JSONDecoder().raw_decode(text.strip())[0]
    names = [step["name"] for step in described["steps"]]
    assert names[:4] == ["teacher", "evaluate teacher", "signal", "search"]
    assert described["trials_left"] == 3 and described["seconds"] > 0
    assert not out.exists()


def test_a_plan_has_every_recipe_the_rungs_and_what_is_kept_in_reserve(
    make_run: Callable[..., Run],
) -> None:
    context = open_context(make_run(rungs=2, budget="10m"))
    inputs = read_inputs(context)
    space = inputs.space.with_recipes(["default", "logits"], ["static"])
    given = load_given_teacher(context, inputs)
    told = forecast(context, replace(inputs, space=space), given)
    known = {name: told.described[name] for name in ("recipes", "rungs", "reserve")}
    assert known == {"recipes": 3, "rungs": 2, "reserve": 30.0}
    words = "\n".join(told.lines)
    assert re.search(r"^  rungs +2: all train a little", words, re.MULTILINE)
    assert re.search(r"^  reserve +30 s of --budget 10m$", words, re.MULTILINE)


@pytest.mark.parametrize("seconds", [0.0, 300.0])
def test_a_plan_within_a_time_counts_what_measuring_took(
    seconds: float, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0

    def slow_probe(*_: Any, **__: Any) -> Speeds:
        nonlocal now
        now += seconds
        return Speeds(*[1e-6] * 4, share=0.5, trial=10.0)

    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(of_forecasts, "probe", slow_probe)
    run = make_run(budget="10m", trials=1000, random_control="off")
    told = plan_search(open_context(run)).described
    most = (600 - 30 - seconds) / 10  # of the budget 30 s are kept in reserve
    assert 0.8 * most < told["trials_left"] <= most


def test_a_plan_has_no_controls_where_the_time_is_over_as_the_search_is(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = Speeds(*[1e-2] * 4, share=0.5, trial=10.0)
    monkeypatch.setattr(of_forecasts, "probe", lambda *_, **__: speeds)
    monkeypatch.setattr(of_forecasts, "_trials_to_come", lambda *_: (0.0, 0.0))
    monkeypatch.setattr(of_forecasts, "trials_spent", lambda *_, **__: 3.0)
    context = open_context(make_run(budget="1m", finalists=1))
    inputs = read_inputs(context)
    given = load_given_teacher(context, inputs)
    students = trained_in_full(context, context.run.folder, most=1)
    told = forecast(context, inputs, given, students=students, spent=lambda: 59.0)
    assert [step.name for step in told.plan.steps if step.kind == "student"] == ["distil student"]
    assert {"control fine-tuned", "distil hand-picked"} <= {step.name for step in told.left_out}


def test_a_plan_tells_what_a_trial_takes_one_of_several_workers(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = Speeds(*[1e-6] * 4, share=0.5, trial=10.0)
    monkeypatch.setattr(of_forecasts, "probe", lambda *_, **__: speeds)
    monkeypatch.setattr(of_forecasts, "count_jobs", lambda *_: 2)
    told = plan_search(open_context(make_run(trials=6, random_control="off", warm_start=False)))
    assert told.trial == 10
    assert [step.seconds for step in told.plan.steps if step.name == "search"] == [30]


def test_a_plan_without_trials_tells_what_one_takes_all_the_same(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should one come after all, its search ends at some time."""
    speeds = Speeds(*[1e-6] * 4, share=0.5)
    monkeypatch.setattr(of_forecasts, "probe", lambda *_, **__: speeds)
    monkeypatch.setattr(of_forecasts, "trials_left", lambda *_, **__: 0.0)
    told = plan_search(open_context(make_run(random_control="off", budget="1h")))
    assert 0 < told.trial < 60


def test_a_part_of_a_training_that_is_left_is_planned_as_a_whole_one(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = open_context(make_run(rungs=2, trials=20, random_control="off"))
    spent = 20 - 5 / 3
    monkeypatch.setattr(SuccessiveHalvingPruner, "spent", lambda self, _: spent * self.full_cost)
    inputs = read_inputs(context)
    given = load_given_teacher(context, inputs)
    told = forecast(context, inputs, given)
    words = " ".join(" ".join(told.lines).split())
    assert ", 2 to be tried (" in words and "search, 2 trials" in words
    assert told.described["trials_left"] == pytest.approx(5 / 3)


def test_a_teacher_that_another_run_fine_tuned_is_known(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))
    for out, cached in (("a", False), ("b", True)):
        context = open_context(make_run(out=tmp_path / out))
        inputs = read_inputs(context)
        given = load_given_teacher(context, inputs)
        told = forecast(context, inputs, given)
        assert told.facts.tuned_in_cache is cached is not told.facts.tunes_teacher
        words = " ".join(" ".join(told.lines).split())
        assert ("fine-tuned before: in the cache" in words) == cached
        [step] = (step for step in told.plan.steps if step.name == "teacher")
        assert step.title.startswith("copy" if cached else "fine-tune")
        assert (step.seconds == 0) == cached
        prepare_teacher(context, inputs, given)


def test_dry_runs_change_nothing_in_a_run(
    command: Said, finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    before = files_in(run)
    assert command("resume", run, "--dry-run") == (0, "")
    assert "plan: 1 step, about 5 s" in command.all and "evaluate and report" in command.all
    command.all = ""
    assert command("resume", run, "--trials", 4, "--task-lr", "1e-4", "--dry-run") == (0, "")
    assert "search, 2 trials" in command.all and "random search, 2 trials" in command.all
    assert "fine-tune the teacher" not in command.all and "distil the student" in command.all
    command.all = ""
    assert command("distill", run, "--trial", 1, "--dry-run") == (0, "")
    assert "search, " not in command.all and "evaluate and report" in command.all
    command.all = ""
    assert command("worker", run, "--dry-run") == (0, "")
    assert "plan: nothing is left to do" in command.all
    assert files_in(run) == before
    code, error = command("resume", run, "--dry-run", "--rebuild-study")
    assert code == 2 and "contradict each other" in error


def test_options_of_a_training_that_does_not_take_place_are_named(
    command: Said, finished_run: Path, quick_flags: list[str], tmp_path: Path
) -> None:
    at = quick_flags.index("--teacher")
    knows = [*quick_flags[:at], "--teacher", finished_run / "teacher", *quick_flags[at + 2 :]]
    asked = ("--teacher-epochs", 2, "--out", tmp_path / "run", "--dry-run", "--force")
    code, error = command("search", *knows, *asked)
    assert code == 0, error
    told = "--teacher-epochs: without effect, the teacher has a head for the task and is used as it"
    assert told in " ".join(command.all.split())
    command.all = ""
    assert command("search", *quick_flags, *asked)[0] == 0
    assert "without effect" not in command.all


def test_each_of_a_family_is_reported_in_a_step_of_its_own(
    command: Said, teacher_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    given: tuple[object, ...] = ("--teacher", teacher_folder, "--task", "mrpc")
    given += ("--data-dir", data_folder)
    given += ("--latency-batch", 16, "--latency-length", 64, "--threads", 1)
    asked = ("--pruned", "magnitude", "--speedup", "1.01,1.02", "--out", tmp_path / "run")
    code, error = command("distill", *given, *asked, "--dry-run")
    assert code == 0, error
    steps = re.findall(r"^ +(?:steps +)?\d+ (.+?)  +about", command.all, re.MULTILINE)
    first, last = "evaluate and report 1.01x", "evaluate and report"
    assert steps[-1] == last and steps.count(last) == steps.count(first) == 1
    assert steps.index("distil the student") < steps.index(first)
    assert steps[steps.index(first) + 1].startswith("importance by magnitude")


@pytest.mark.parametrize(("jobs", "place"), [(1, 1), (2, 3)])
def test_controls_come_before_random_search_where_they_are_trained_beside_the_student(
    make_run: Callable[..., Run], jobs: int, place: int
) -> None:
    context = open_context(make_run(trials=2, random_control="search", jobs=jobs))
    names = [step.name for step in plan_search(context).plan.steps]
    controls = ["control fine-tuned", "distil hand-picked"]  # labels last where side by side
    students = ["distil student", *(controls if jobs == 1 else reversed(controls))]
    students.insert(place, "random search")
    assert names[names.index("search") :] == ["search", *students, "report"]


def test_a_job_says_where_it_is_in_its_plan(
    command: Said, finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    assert command("resume", run, "--trials", 3) == (0, "")
    told = command.all
    assert told.count(LEGEND.split()[0]) == 1 and told.index("plan: ") < told.index("trial 2 ")
    assert re.search(r"step 2 of \d: search, 1 trial \(about [^)]+ left in all\)", told)
    assert re.search(r"(\w+) of \1: evaluate and report", told)
    assert re.search(r"\ndone in [^;]+; planned: about .+\n", told)


def test_too_small_a_disk_is_said_beforehand(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = open_context(make_run())
    inputs = read_inputs(context)
    given = load_given_teacher(context, inputs)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 9))  # type: ignore[attr-defined]
    [found] = disk_needed(context, inputs, given, tunes=True, students=3)
    assert found.warning and found.needed > 100_000
    assert "has 0 kB free, and this needs about " in found.warning


def test_a_usual_student_is_as_large_as_limits_allow() -> None:
    space = SearchSpace.from_teacher(small_config(), "bert", {"num_hidden_layers": [1, 2, 3]})
    whole, params = arithmetic(space.teacher), 4 * arithmetic(space.teacher)
    usual = usual_shape(space, Limits(2.0), params)
    assert arithmetic(usual) == max(
        size for size in map(arithmetic, space.architectures) if size <= whole / 2
    )
    assert usual_shape(space, Limits(1e6), params) == space.smallest
    sizes = [arithmetic(shape) for shape in space.architectures]
    assert min(sizes) < arithmetic(usual_shape(space, Limits(), params)) < max(sizes)
    half = usual_shape(space, Limits(max_params=params // 2), params)
    assert half.hidden_size < space.teacher.hidden_size
    assert arithmetic(half) < arithmetic(usual_shape(space, Limits(), params))


def test_a_winner_is_set_beside_the_usual_student() -> None:
    """Of trials of 10, 20 and 60 s, which is the usual one depends on whether speed is limited."""
    study = optuna.create_study()
    for seconds in (10.0, 20.0, 60.0):
        attrs = {"seconds": seconds, "loss": 0.5}
        study.add_trial(create_trial(value=0.5, user_attrs=attrs))
    winner = study.trials[1]
    assert share_of_time(study, winner, Settings(speedup=4)) == pytest.approx(20 / 60)
    assert share_of_time(study, winner, Settings()) == pytest.approx(20 / 30)


def test_plans_know_that_small_students_train_longer(make_run: Callable[..., Run]) -> None:
    """An eighth of the arithmetic, by the speed-up alone, is taken for a sixteenth."""
    context = open_context(make_run(speedup=8.0))
    inputs = read_inputs(context)

    def seconds(*, share: float, **changes: Any) -> float:
        settings = context.settings.model_copy(update=changes)
        own = replace(context, settings=settings)
        estimate = Estimate(own, inputs, Speeds(1.0, 1.0, 1.0, 1.0, share))
        return sum(estimate.recipe(signal=False).values())

    whole = seconds(share=1 / 8, more_epochs=False)
    assert seconds(share=1 / 8) == pytest.approx(1.92 * whole, rel=0.1)  # whole steps
    assert seconds(share=1 / 8, speedup=None) == whole
    assert seconds(share=1.0) == whole


def test_plans_know_how_far_a_student_is_pruned(make_run: Callable[..., Run]) -> None:
    """At 95% it sees its rows 2.4 times (0.12 / 0.05), a step takes less than the usual one's."""
    assert share_asked(Pruning("ziplm", sparsity=0.95)) == pytest.approx(0.05)
    assert share_asked(Pruning("ziplm", speedup=4.0, after=(2.0,))) == pytest.approx(0.125)
    assert share_asked(NOT_PRUNED) is None
    context = open_context(make_run())
    estimate = Estimate(context, read_inputs(context), Speeds(1.0, 1.0, 1.0, 1.0, 0.25))

    def seconds(share: float | None) -> float:
        return sum(estimate.recipe(signal=False, share=share).values())

    assert seconds(0.25) == seconds(None)
    step = (0.25 + 0.75 * 0.05) / (0.25 + 0.75 * 0.25)
    assert seconds(0.05) == pytest.approx(2.4 * step * seconds(None), rel=0.1)  # whole steps
    labels = [sum(estimate.labels_alone(share).values()) for share in (None, 0.05)]
    assert labels[1] == pytest.approx(2.4 * step * labels[0], rel=0.1)


def test_plans_know_that_what_a_person_would_pick_is_timed(make_run: Callable[..., Run]) -> None:
    """Within a limit, one shape of each of four depths beside the teacher, each time anew."""

    def seconds(**changes: Any) -> float:
        settings = context.settings.model_copy(update={"speedup": None, **changes})
        own = replace(context, settings=settings)
        return Estimate(own, inputs, Speeds(1.0, 1.0, 1.0, 2.0, 0.5)).warm_start(20)

    context = open_context(make_run(latency_repeats=10))
    inputs = read_inputs(context)
    widths = len({shape.hidden_size for shape in inputs.space.architectures})
    rounds = (widths + 1 - 1).bit_length()
    timed = rounds * 0.6 * 10 * 2.0 * (1 + 4 * 0.5)
    free = seconds()
    assert seconds(max_params="1M") == pytest.approx(free + timed)
    assert seconds(max_params="1M", warm_start=False) == 0


def test_plans_know_how_long_the_table_of_latencies_takes(make_run: Callable[..., Run]) -> None:
    """Of models that write a pass takes seconds: three of them are timed in each cell."""
    context = open_context(make_run(latency_repeats=30))
    inputs = read_inputs(context)

    def report(latency: float, row: float | None, students: int) -> float:
        speeds = Speeds(1.0, 1.0, 1e-9, latency, 0.5, row)
        return Estimate(context, inputs, speeds).report(students)

    def table(latency: float, row: float | None) -> float:
        """What is left of a report without all that each of its students adds."""
        return 2 * report(latency, row, 1) - report(latency, row, 2) - report(latency, row, 0)

    lengths = {min(n, inputs.data.length) for n in (16, 64, 128)}
    cells = 3 * len(lengths) - 1  # that of all timings is there
    of_all = inputs.space.architectures
    before = 1.0 + 1.5 * len({a.hidden_size for a in of_all}) * 7 * 3.0 * 1.5
    assert table(3.0, 1e-9) - before == pytest.approx(cells * (1 + 1 + 3) * 3.0 * 1.5)
    assert table(30.0, 1e-9) == pytest.approx(10 * before - 9)  # too slow even for that


def _offering(folder: Path, *recipes: str, **more: Any) -> tuple[Context, Inputs]:
    """A run of a teacher that writes, over recipes in some order."""
    place = folder / "captions"
    if not place.exists():
        save_captions(folder, train=40, dev=8)
        save_writer(folder / "bart")
    given: dict[str, Any] = {
        **more,
        "teacher": str(folder / "bart"),
        "task": str(folder / "captions.yaml"),
    }
    given |= {"data_dir": folder, "recipes": ",".join(recipes), "out": folder / "-".join(recipes)}
    given |= {
        "max_length": 16,
        "max_target_length": 16,
        "latency_length": 16,
        "batch_size": 4,
        **more,
    }
    context = open_context(Run.create(load_settings([], given)))
    return context, read_inputs(context)


@pytest.mark.parametrize("writing", ["sequence-level", "transfer"])
def test_plans_of_recipes_have_what_the_teacher_writes(writing: str, tmp_path: Path) -> None:
    """In any order, however fast students learn."""
    found = []
    for names in (("default", writing), (writing, "default")):
        context, inputs = _offering(tmp_path, *names)
        speeds = Speeds(1.0, 1e-9, 1e-9, 1.0, 0.5, row=2.0, beams=3.0)
        found.append(Estimate(context, inputs, speeds).recipe(signal=True))
    assert found[0] == found[1]
    assert found[0].get("pseudo-labels" if writing == "sequence-level" else "transfer set", 0) > 200


@pytest.mark.parametrize("tuned", [False, True])
def test_texts_that_the_teacher_has_written_are_not_planned(
    tuned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By any run, for all rows or some; of a teacher that was fine-tuned in another run, too."""
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))
    speeds = Speeds(1.0, 1.0, 1.0, 1.0, 0.5, row=1.0)
    monkeypatch.setattr(of_forecasts, "probe", lambda *_, **__: speeds)

    def planned(context: Context, inputs: Inputs) -> float:
        student = Training("distil student", "", context.run.folder / "student")
        given = load_given_teacher(context, inputs)
        told = forecast(context, inputs, given, searches=False, students=[student])
        [step] = (step for step in told.plan.steps if step.name == "distil student")
        return step.parts["pseudo-labels"]

    how = {"fine_tune": tuned, "teacher_epochs": 1}
    context, inputs = _offering(tmp_path, "sequence-level", **how)
    rows = len(for_students(inputs.data, context.settings).train)
    assert planned(context, inputs) == rows
    teacher = prepare_teacher(context, inputs, load_given_teacher(context, inputs))
    prepare_full_kd(context, inputs, teacher)
    assert planned(context, inputs) == 0
    another = _offering(tmp_path, "sequence-level", **how, out=tmp_path / "another")
    assert planned(*another) == 0
    [file] = (tmp_path / "cache" / "pseudo-labels").glob("[!.]*.json")
    texts = json.loads(file.read_text())
    file.unlink()
    kept = [json.dumps({"row": row, "text": texts[row]}) for row in range(10)]
    file.with_suffix(".jsonl").write_text("\n".join(kept) + "\n")  # of a job that was killed
    assert planned(*another) == pytest.approx(rows - 10)


def test_a_transfer_set_of_the_run_is_not_planned_again(tmp_path: Path) -> None:
    context, inputs = _offering(tmp_path, "default", "transfer")
    (context.run.folder / "transfer-transfer.jsonl.gz").write_bytes(b"")
    speeds = Speeds(1.0, 1.0, 1e-9, 1.0, 0.5, row=2.0)
    found = Estimate(context, inputs, speeds).recipe(signal=True)
    assert "intermediate" in found and "transfer set" not in found


def test_a_usual_student_of_few_parameters_has_factorised_embeddings() -> None:
    replaced = {"hidden_size": [24, 32], "embedding_size": ["teacher", 4]}
    space = SearchSpace.from_teacher(small_config("deberta-v2"), "t", replaced)
    params, tables = arithmetic(space.teacher), 40_000
    limits = Limits(max_params=tables // 8 + 32 * 4 + params)
    assert usual_shape(space, limits, params + tables).embedding_size == 4
    assert space.embedding_sizes == (4,)


@pytest.mark.parametrize("jobs", [1, 2])
def test_labels_alone_come_last_of_each_report_only_side_by_side(jobs: int) -> None:
    """As in `train_all`."""
    names = ("distil student", "control fine-tuned", "distil hand-picked")
    family = [Step(f"{name} 2x", "", {}, "student", jobs=jobs) for name in names]
    own = [Step(name, "", {}, "student", jobs=jobs) for name in names]
    steps = [*family, Step("report family/2x", "", {}, "report"), *own]
    estimate = SimpleNamespace(settings=Settings())
    todo = Allotment(0.0, 0.0, steps)
    found = of_forecasts._in_order(estimate, todo, screens=False)  # type: ignore[arg-type]
    each = names if jobs == 1 else (names[0], names[2], names[1])
    told = [*(f"{name} 2x" for name in each), "report family/2x", *each]
    assert [step.name for step in found] == told
