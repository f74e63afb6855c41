"""A search over shapes and recipes, end to end, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import yaml
from conftest import QUICK, kdnas
from support.stepwise import Stepwise

from kdnas import load_run, resume, search
from kdnas.config import every_recipe, load_settings, settings_of
from kdnas.config.groups import default_of
from kdnas.errors import KdnasError
from kdnas.runs.run_folder import Run
from kdnas.scoring.mini_kd import MiniKD
from kdnas.scoring.scorer import Budget
from kdnas.space import Candidate
from kdnas.tasks import load_spec
from kdnas.tasks.defaults import with_type_defaults
from kdnas.workflow.planning.estimate import Estimate
from kdnas.workflow.planning.probe import Speeds
from kdnas.workflow.preparing.inputs import read_inputs

SPACE: dict[str, list[Any]] = {
    "num_hidden_layers": [1, 2],
    "num_attention_heads": [2],
    "hidden_size": [16, 32],
    "intermediate_size": [32],
    "hidden_act": ["gelu"],
}
OWN = """
summary: Ours
stages:
  - {name: first, data: transfer, losses: {hidden: 1}, epochs: 1, lr: 1.0e-3}
  - {name: last, data: task, losses: {task: 1, logits: 1}, epochs: 2, lr: 5.0e-4}
transfer_rows: 260
"""
GIVEN = {**QUICK, "space": SPACE, "trials": 4, "sampler": "random", "random_control": "full"}


@pytest.fixture(scope="module")
def finished(
    teacher_folder: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished search over two recipes, one of them from a file that is gone."""
    home = tmp_path_factory.mktemp("recipes")
    own = home / "own.yaml"
    own.write_text(OWN)
    options = {**GIVEN, "sampler": "tpe", "data_dir": data_folder, "out": home / "run"}
    made = search(teacher_folder, "mrpc", recipes=f"default,{own}", **options)
    own.unlink()
    return made.folder


def test_it_chooses_a_shape_and_a_recipe(finished: Path) -> None:
    run = load_run(finished)
    table = run.scored
    assert set(table.recipe) == {"default", "own"} and len(table) == 4
    assert table.score.between(-2, 1).all()
    assert (table.score_low <= table.score).all() and (table.score <= table.score_high).all()
    best = table.loc[table.reward.idxmax()]
    assert run.report and run.report.search and run.report.search.not_tried == {}
    kept = yaml.safe_load((finished / "config.yaml").read_text())
    assert kept["mini_score"] == "agreement" and kept["offered"].keys() == {"default", "own"}
    report = json.loads((finished / "report.json").read_text())
    searched = finished / "controls" / "searched"
    folder = searched if searched.exists() else finished / "student"
    made = json.loads((folder / "kdnas.json").read_text())["key"]
    assert made["candidate"]["recipe"] == best.recipe
    named = {"default": ["relations", "task"], "own": ["first", "last"]}
    assert [stage["name"] for stage in made["recipe"]] == named[best.recipe]
    shipped = report["student"]["recipe"]  # None of the control on labels alone, which may ship
    if shipped is not None:
        assert [stage["name"] for stage in report["recipe"]] == named[shipped]


def test_controls_have_recipes_of_their_own(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    best = load_run(finished).scored.sort_values("reward").iloc[-1].recipe
    models = {c["name"]: c for c in report["controls"]}
    models[report["selection"]["shipped"]] = report["student"]
    known = {name: model["recipe"] for name, model in models.items()}
    assert known["fine-tuned without KD"] is None
    control = pd.read_csv(finished / "random-search.csv")
    drawn = control.loc[control.reward.idxmax()].recipe
    assert known.get("random search", drawn) == drawn
    assert known.get("hand-picked, as fast", best) == best


def test_the_study_has_a_dimension_for_it(finished: Path) -> None:
    study = optuna.load_study(study_name="kdnas", storage=f"sqlite:///{finished}/study.db")
    assert {t.params["recipe"] for t in study.trials} == {"default", "own"}
    for trial in study.trials:
        assert all(isinstance(v, int | float | str) for v in trial.user_attrs.values())


@pytest.mark.slow
def test_it_goes_on_without_the_file(finished: Path) -> None:
    before = load_run(finished).trials
    after = resume(finished, trials=5).trials
    assert len(after) == 5 and after.score[:4].tolist() == before.score.tolist()


@pytest.fixture
def make(teacher_folder: Path, data_folder: Path, tmp_path: Path) -> Callable[..., Stepwise]:
    """Makes a run over recipes on the small teacher."""

    def pipeline(name: str = "run", **changes: Any) -> Stepwise:
        places = {"teacher": str(teacher_folder), "task": "mrpc", "data_dir": data_folder}
        own = {**places, **GIVEN, "out": tmp_path / name, **changes}
        return Stepwise(Run.create(with_type_defaults(load_settings(None, own), load_spec("mrpc"))))

    return pipeline


@pytest.mark.slow
def test_it_goes_on_after_an_interruption(
    make: Callable[..., Stepwise], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"recipes": "default,logits", "trials": 3, "random_control": "off"}
    whole = make("whole", **changes)
    whole.search()
    calls, run = 0, MiniKD._run

    def stops(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return run(*given)

    stopped = make("stopped", **changes)
    with monkeypatch.context() as patch:
        patch.setattr(MiniKD, "_run", stops)
        with pytest.raises(KeyboardInterrupt):
            stopped.search()
    again = Stepwise(Run.open(stopped.run.folder))
    again.search()

    def scores(pipeline: Stepwise) -> dict[tuple[Any, ...], float]:
        done = [t for t in pipeline.open_study().trials if "score" in t.user_attrs]
        return {tuple(t.params.values()): t.user_attrs["score"] for t in done}

    first, second = scores(whole), scores(again)
    assert len(second) == 3 and second.keys() & first.keys()
    for key in second.keys() & first.keys():
        assert second[key] == pytest.approx(first[key], abs=1e-5)


def test_the_epochs_of_students_without_layers_are_planned_for_these_alone(
    make: Callable[..., Stepwise],
) -> None:
    """Their steps take next to nothing, or what they take: then they are the longest."""
    steps = make(recipes="default,static")
    inputs, offered = read_inputs(steps.context), every_recipe(steps.context.settings)

    def planned(static_step: float) -> Estimate:
        speeds = Speeds(1.0, 1.0, 0.0, 1.0, 0.5, static_step=static_step)
        return Estimate(steps.context, inputs, speeds)

    quick, slow = planned(1e-6), planned(1.0)
    assert quick.full == quick.layered == slow.layered == offered["default"]
    assert slow.full == offered["static"]
    seconds = sum(slow.recipe(signal=False).values())
    rows = 2 * 5 * offered["static"].transfer_rows
    assert seconds == pytest.approx(1.15 * rows / offered["static"].batch_size, rel=0.01)
    assert slow.recipe(signal=False, layered=True) == quick.recipe(signal=False)


def test_the_space_is_shapes_times_recipes(make: Callable[..., Stepwise]) -> None:
    space = make(recipes="default,logits,pkd").space
    assert len(space.candidates) == 3 * len(space.architectures) == 12
    assert space.distributions["recipe"].choices == ("default", "logits", "pkd")  # type: ignore


def test_of_all_recipes_those_that_cannot_apply_are_left_out(
    make: Callable[..., Stepwise], capsys: pytest.CaptureFixture[str]
) -> None:
    space = make(search_over="shape,recipe").space
    assert "tinybert-task" not in space.recipes and "minilm" not in space.recipes
    assert {"default", "labels", "logits", "pkd", "transfer"} <= set(space.recipes)
    said = capsys.readouterr().out
    assert "recipe minilm is left out: it learns from a corpus" in said
    assert "recipe tinybert-task is left out: stage 'intermediate'" in said


def test_of_all_recipes_one_that_does_what_another_does_is_left_out(
    make: Callable[..., Stepwise], capsys: pytest.CaptureFixture[str]
) -> None:
    usual = {name: default_of(name) for name in ("epochs", "task_epochs", "lr", "task_lr")}
    assert "relations" not in make(search_over="shape,recipe", **usual).space.recipes
    assert "recipe relations is left out: it does what default does" in capsys.readouterr().out
    assert "relations" in make("two", recipes="default,relations", **usual).space.recipes
    assert "relations" in make("three", recipes="all", **usual, temperature=3).space.recipes


def test_recipes_that_cannot_apply_are_refused_by_name(make: Callable[..., Stepwise]) -> None:
    with pytest.raises(KdnasError, match="recipe 'tinybert-task' of --recipes: stage") as caught:
        make(recipes="default,tinybert-task").inputs  # noqa: B018
    assert "\n" not in str(caught.value)
    equal = {**SPACE, "num_attention_heads": ["teacher"]}
    assert make("other", recipes="default,tinybert-task", space=equal).space.recipes[1]
    with pytest.raises(KdnasError, match="of predictions, but the teacher has no head"):
        make("headless", recipes="default,pkd", teacher_as_is=True).inputs  # noqa: B018


def test_weights_of_losses_are_recipes_to_choose_from(make: Callable[..., Stepwise]) -> None:
    steps = make(recipes="relations,relations@logits=4,default@task=3@relations=2")
    names = ("relations", "relations@logits=4", "default@relations=2@task=3")
    assert steps.space.distributions["recipe"].choices == names  # type: ignore[union-attr]
    weights = [steps.mini.settings_of(name).short_stages[1].losses for name in names]
    assert weights == [
        {"task": 1, "logits": 1, "relations": 1},
        {"task": 1, "logits": 4, "relations": 1},
        {"task": 3, "logits": 1, "relations": 2},
    ]
    shape = steps.space.architectures[0]
    values = [steps.mini.score(Candidate(shape, name), Budget()).value for name in names[:2]]
    assert values[0] != values[1], "they train otherwise"
    with pytest.raises(KdnasError, match="'default@hidden=2' of --recipes: .* has no loss"):
        make("other", recipes="default,default@hidden=2").inputs  # noqa: B018


def test_a_refusal_at_the_command_line_takes_one_line(
    quick_flags: list[str], tmp_path: Path
) -> None:
    given = ["--recipes", "default,pkd", "--mini-score", "hidden", "--out", tmp_path / "run"]
    done = kdnas("search", *quick_flags, *given)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert "the score is agreement" in done.stderr and not (tmp_path / "run").exists()


def test_each_recipe_has_its_own_settings(make: Callable[..., Stepwise]) -> None:
    pipeline = make(recipes="default,labels,pkd", epochs=2)
    mini = pipeline.mini
    assert mini.settings_of("default").full_stages[0].epochs == 2
    assert not mini.settings_of("labels").inherit and mini.settings_of("pkd").inherit
    assert not settings_of(pipeline.settings, "pkd").after_mini_kd
    whole = [
        sum(s.epochs for s in mini.settings_of(r).short_stages) for r in pipeline.space.recipes
    ]
    assert whole == pytest.approx([0.5] * 3)
