"""`kdnas fidelity` on a small real run."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import QUICK, sentence
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial
from scipy.stats import kendalltau
from support.processes import kdnas_child
from support.stepwise import Stepwise

from kdnas.cli.app import app
from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.files.artifact import json_artifact, key_of
from kdnas.files.atomic import write_text
from kdnas.recipes.full import run_recipe
from kdnas.report.fidelity import fidelity_lines
from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.space import Architecture, Candidate
from kdnas.study.study import evaluated
from kdnas.tasks import TaskSpec, load_spec
from kdnas.workflow.fidelity import (
    choose_students,
    fidelity,
    final_scores,
    plan_fidelity,
    summarise,
)

TASK = {"text": ["text"], "label": "stars", "regression": True, "metrics": ["pearson"]}


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path, tmp_path: Path) -> Run:
    """A copy of a run with five finished trials, whose task tells students apart."""
    base = tmp_path_factory.getbasetemp()
    made = base / "run-with-five-trials"
    if not made.exists():
        rng = random.Random(0)
        for split, count in (("train", 160), ("validation", 40)):
            texts = [sentence(rng) for _ in range(count)]
            rows = [{"text": text, "stars": text.count("good") + len(text) / 9} for text in texts]
            lines = "\n".join(map(json.dumps, rows))
            write_text(base / "stars" / "likes" / f"{split}.jsonl", lines)
        settings = Settings(
            teacher=str(teacher_folder),
            task="likes",
            tasks={"likes": TASK},
            data_dir=base / "stars",
            out=made,
            trials=5,
            **QUICK,
        )
        Stepwise(Run.create(settings)).search()
    shutil.copytree(made, tmp_path / "run")
    return Run.open(tmp_path / "run")


def steps(run: Run) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in (run.folder / "steps").glob("fidelity-*")}


def test_it_says_how_well_scores_rank_students_and_a_repeat_costs_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan_fidelity(open_context(run), 4, 2)
    assert [step.title for step in planned.plan.steps][-1] == "8 trainings in full"
    assert planned.plan.first > 0 and not steps(run)
    result = fidelity(open_context(run), 4, 2)
    assert result == json.loads((run.folder / "fidelity.json").read_text())
    assert result["metric"] == "pearson" and result["seeds"] == [0, 1]
    trials = {t.number: t for t in evaluated(Stepwise(run).open_study())}
    students = result["students"]
    assert len({s["trial"] for s in students}) == 4
    for student in students:
        trial = trials[student["trial"]]
        assert student["architecture"] == trial.params and set(student["final"]) == {"0", "1"}
        assert student["loss"] == trial.user_attrs["loss"]
    means = [sum(s["final"].values()) / 2 for s in students]
    found = result["statistics"]["all"]
    expected = kendalltau([-s["loss"] for s in students], means).statistic
    assert found["score"]["tau"] == pytest.approx(expected) and found["score"]["n"] == 4
    fastest = kendalltau([s["speedup"] for s in students], means).statistic
    assert found["-speedup"]["tau"] == pytest.approx(-fastest)
    assert "plotly" in (run.folder / "fidelity.html").read_text()
    assert all(len(line) <= 80 for line in fidelity_lines(result, "run"))

    monkeypatch.setattr("kdnas.workflow.fidelity.run_recipe", None)
    assert fidelity(open_context(run), 4, 2) == result


def test_the_final_score_is_that_of_full_kd_from_a_fresh_start(run: Run, tmp_path: Path) -> None:
    student = fidelity(open_context(run), 4, 1)["students"][0]
    pipeline = Stepwise(run)
    architecture = Architecture.from_params(student["architecture"])
    state = run_recipe(pipeline.full, Candidate(architecture), tmp_path / "work", "alone")
    score = pipeline.score(state.model)["pearson"]
    assert student["final"] == {"0": pytest.approx(score, abs=1e-6)}
    assert not list((run.folder / "work").glob("fidelity/*"))


@pytest.mark.slow
def test_a_killed_command_goes_on_with_the_next_student(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    Run.open(run.folder, task_epochs=4).save()  # long enough to be killed in time
    process = kdnas_child("fidelity", run.folder, "--students", 4)
    process.wait_until(lambda: bool(steps(run)))
    process.kill()
    process.wait()
    before = steps(run)
    assert len(before) < 4 and not (run.folder / "fidelity.json").exists()
    app(["fidelity", str(run.folder), "--students", "4"], standalone_mode=False)
    assert steps(run).items() >= before.items() and len(steps(run)) == 4
    shown = capsys.readouterr().out
    assert "4/4  trial" in shown and "mini-KD score" in shown and "95% interval" in shown
    assert (run.folder / "fidelity.html").exists()


def test_too_much_is_refused_before_anything_is_trained(run: Run, tmp_path: Path) -> None:
    with pytest.raises(
        KdnasError, match=r"16 .4 at least., but the study has 5 .*resume .* --trials 16`.* 5"
    ):
        fidelity(open_context(run), 16, 1)
    only_time = {"budget": "45m", "trials": Settings(budget="45m").trials}
    by_time = replace(open_context(run), settings=run.settings.model_copy(update=only_time))
    with pytest.raises(KdnasError, match=r"give it more with `kdnas resume \S+ --budget 1h30m`"):
        plan_fidelity(by_time, 6, 1)
    with pytest.raises(KdnasError, match="invalid --students 3: .* 4 or more"):
        fidelity(open_context(run), 3, 1)
    with pytest.raises(KdnasError, match="invalid --seeds 0"):
        fidelity(open_context(run), 4, 0)
    with pytest.raises(KdnasError, match="absent does not exist"):
        app(["fidelity", str(tmp_path / "absent")], standalone_mode=False)
    (run.folder / "study.db").unlink()
    with pytest.raises(KdnasError, match="study.db is gone; put it back"):
        app(["fidelity", str(run.folder)], standalone_mode=False)
    assert not steps(run)


@pytest.mark.parametrize("change", [{"teacher_folds": 4}, {"class_weights": "balanced"}])
def test_a_student_of_other_labels_or_teachers_is_trained_again(
    change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "kdnas.workflow.fidelity.run_step", lambda *given: keys.append(given[2]) or {}
    )
    known: Any = {"recipe": "default", "vocabulary": "teacher", "label": "a", "architecture": {}}
    inputs: Any = SimpleNamespace(
        data=SimpleNamespace(spec=load_spec("mrpc")),
        vocabularies={"teacher": SimpleNamespace(name="teacher")},
    )
    full: Any = None
    for settings in (Settings(), Settings(), Settings(**change)):
        context: Any = SimpleNamespace(settings=settings, run=Run(tmp_path, settings))
        final_scores(context, inputs, full, known, 0)
    first, same, other = keys
    assert first == same and first != other


def test_other_metrics_are_of_the_students_that_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Any] = []
    answers = {"validation": {"predicted": [1, 1, 0, 0], "truth": [1, 0, 0, 0]}}
    monkeypatch.setattr(
        "kdnas.workflow.fidelity.run_step",
        lambda context, name, key, _: context.run.step(name, key).get(
            lambda: trained.append(name) or answers
        ),
    )
    context: Any = SimpleNamespace(settings=Settings(), run=Run(tmp_path, Settings()))
    student: Any = {"recipe": "default", "vocabulary": "teacher", "label": "a", "architecture": {}}

    def score(*metrics: str, **entry: Any) -> float:
        spec = TaskSpec.model_validate(
            {"name": "t", "text": "text", "labels": ["ham", "spam"], "metrics": metrics, **entry}
        )
        inputs: Any = SimpleNamespace(
            data=SimpleNamespace(spec=spec),
            vocabularies={"teacher": SimpleNamespace(name="teacher")},
        )
        none: Any = None
        return final_scores(context, inputs, none, student, 0)[spec.main_score]

    assert score("accuracy") == 0.75 and score("f1") == pytest.approx(2 / 3)
    assert score("f1", positive="ham") == pytest.approx(4 / 5) and len(trained) == 1
    [file] = (tmp_path / "steps").glob("fidelity-*")
    key = {k: v for k, v in (key_of(file) or {}).items() if k != "rows"}
    json_artifact(file, key).write({"accuracy": 0.5})  # as of earlier versions
    assert score("accuracy", "f1") == 0.5 and len(trained) == 1
    assert score("f1") == pytest.approx(2 / 3) and len(trained) == 2
    json_artifact(file, key).write({"f1": 0.5})
    assert score("f1", benchmark="B") == 0.5 and len(trained) == 2
    assert score("f1", benchmark="B", positive="ham") == pytest.approx(4 / 5)
    assert len(trained) == 3


def trial(number: int, loss: float, speedup: float, params: int = 1) -> FrozenTrial:
    whole = {"num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": number}
    made = create_trial(
        params={**whole, "intermediate_size": 1, "hidden_act": "gelu"},
        distributions={
            **{name: IntDistribution(0, 99) for name in (*whole, "intermediate_size")},
            "hidden_act": CategoricalDistribution(["gelu"]),
        },
        user_attrs={"loss": loss, "speedup": speedup, "params": params},
        value=loss,
    )
    made.number = number
    return made


def test_students_are_spread_over_the_best_fronts() -> None:
    # Trials 0 to 4 are the front; 5 and 6 the second; 7 the third.
    front = [(0.1, 1), (0.2, 2), (0.21, 2.1), (0.3, 4), (0.4, 8)]
    behind = [(0.25, 1.9), (0.5, 7.5), (0.9, 1)]
    trials = [trial(i, *point) for i, point in enumerate([*front, *behind])]
    assert [t.number for t in choose_students(trials, 5, "latency")] == [0, 1, 2, 3, 4]
    assert [t.number for t in choose_students(trials, 4, "latency")] == [0, 1, 3, 4]
    assert [t.number for t in choose_students(trials[::-1], 4, "latency")] == [0, 1, 3, 4]
    assert 7 not in [t.number for t in choose_students(trials, 7, "latency")]
    assert len(choose_students(trials, 8, "latency")) == 8


def test_the_front_is_that_of_the_cost_that_was_searched() -> None:
    trials = [trial(i, 0.1 * (i + 1), 2.0 + i, params=i + 1) for i in range(4)]
    trials += [trial(9, 0.9, 100.0, params=100)]  # the fastest, but the largest and the worst
    assert 9 in [t.number for t in choose_students(trials, 4, "latency")]
    assert [t.number for t in choose_students(trials, 1, "params")] == [0]


def test_tied_final_scores_have_no_statistics() -> None:
    student = {"params": 1, "macs": 2, "depth": 1, "reward": 0.5, "speedup": 2.0}
    students = [{**student, "loss": i / 9, "final": {"0": 0.5}} for i in range(6)]
    result = summarise(students, "accuracy")
    assert result["statistics"]["all"]["score"]["tau"] is None
    told = "all 6 final scores are equal (accuracy 0.5000): no rank correlation"
    assert any(told in line for line in fidelity_lines(result, "run"))
