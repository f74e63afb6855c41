"""The best trials are distilled in full; held-out training rows say which is the search's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from conftest import Said
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, create_trial

from kdnas.config import Settings
from kdnas.files.artifact import content_of, key_of
from kdnas.report.model import SEARCHED
from kdnas.runs.student import ASIDE
from kdnas.scoring.agreement import HeldoutAgreement
from kdnas.space import Candidate
from kdnas.space.architecture import FIELDS
from kdnas.study.winner import Winner
from kdnas.workflow.distilling import choose, finalists, within_limit
from kdnas.workflow.distilling.measure import Control
from kdnas.workflow.distilling.within_limit import (
    OF_CHOICE,
    Where,
    best_at_length,
    each_kind_first,
)
from kdnas.workflow.preparing.records import record_of


def prefer(monkeypatch: pytest.MonkeyPatch, label: str) -> None:
    """A searched student of this label alone is right, and agrees, on the held-out rows."""

    def is_right(one: Control) -> int:
        return int(one.name == SEARCHED and one.candidate.label == label)

    def scored(prepared: object, one: Control) -> dict[str, Any]:
        right = is_right(one)
        part = {"predicted": [right] * 40, "truth": [1] * 40}
        return {"score": float(right), "rows": {"validation": part}}

    monkeypatch.setattr(choose, "_on_held_out_rows", scored)

    def agreed(_: object, one: Control) -> HeldoutAgreement:
        return agreement(np.full(40, (1 - is_right(one)) / 40))

    monkeypatch.setattr(finalists, "agreement_of", agreed)


def agreement(parts: np.ndarray) -> HeldoutAgreement:
    """One of which rows take these parts from 1."""
    value = float(1 - parts.sum())
    return HeldoutAgreement(value, (value, value), parts)


def test_the_first_of_the_search_ships_unless_another_is_clearly_above_it() -> None:
    rng = np.random.default_rng(0)
    first = rng.random(100) / 500

    def best(*gains: float) -> int:
        # Paired: what all rows gain alike has no error, however much they differ among themselves.
        noise = rng.permutation(np.tile([1.0, -1.0], 50)) / 500
        others = [first - gain / 100 + noise * (gain < 0.05) for gain in gains]
        agreed = [agreement(one) for one in (first, *others)]
        made: Any = [SimpleNamespace() for _ in agreed]
        return finalists._best(cast(Any, None), made, agreed)

    assert best(0.015) == 0  # within a standard error, 0.02
    assert best(0.025) == 1
    assert best(0.015, 0.06, 0.03) == 2
    assert best(-0.1, -0.06) == 0


def candidate_of(trial: FrozenTrial) -> Candidate:
    return Candidate.from_params(trial.params)


def numbered(name: str, values: Sequence[str]) -> list[FrozenTrial]:
    """Trials that differ in one parameter alone."""
    shape = dict.fromkeys(FIELDS, 2) | {"hidden_act": "gelu", "sparsity": 0.5}
    kinds = {name: CategoricalDistribution([value]) for name, value in shape.items()}
    kinds[name] = CategoricalDistribution([*dict.fromkeys(values)])
    found = []
    for number, value in enumerate(values):
        trial = create_trial(params={**shape, name: value}, distributions=kinds, value=0.0)
        trial.number = number
        found.append(trial)
    return found


def test_the_best_of_each_kind_comes_first() -> None:
    pruned = numbered("pruning", ["none", "none", "ziplm", "none", "ziplm"])
    assert [one.number for one in each_kind_first(pruned, candidate_of)] == [0, 2, 1, 3, 4]
    trials = numbered("recipe", "aaba")
    assert [one.number for one in each_kind_first(trials, candidate_of)] == [0, 2, 1, 3]
    assert [one.number for one in each_kind_first(trials[:2], candidate_of)] == [0, 1]


def test_of_one_student_with_two_vocabularies_the_smaller_is_a_finalist() -> None:
    trials = numbered("vocabulary", ["teacher", "task", "general", "task", "teacher"])
    for one, loss, params in zip(
        trials, (0.1, 0.1, 0.2, 0.3, 0.4), (9000, 5000, 7000, 5000, 9000), strict=True
    ):
        one.user_attrs = {"loss": loss, "params": params}
    kept = finalists.without_copies(trials, Settings())
    assert [one.number for one in kept] == [1, 2, 3, 4]
    recipes = numbered("recipe", ["default", "pkd"])
    for one in recipes:
        one.user_attrs = {"loss": 0.1, "params": 5000}
    assert finalists.without_copies(recipes, Settings()) == recipes


def test_timing_at_length_leaves_the_best_of_each_kind_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trials = numbered("pruning", ["none"] * 3 + ["ziplm"] * 2 + ["none"] * 3)
    for one in trials:
        one.set_user_attr("loss", one.number / 10)
    logged: list[dict[str, Any]] = []
    run = SimpleNamespace(log=lambda event, **fields: logged.append({"event": event, **fields}))
    context = SimpleNamespace(settings=Settings(speedup=8), run=run)
    prepared: Any = SimpleNamespace(context=context)
    too_slow = 0
    speeds = {one.number: 7.0 if one.number == too_slow else 9.0 for one in trials}
    asked: list[int] = []

    def timed(_: object, candidates: Sequence[Candidate], __: object) -> list[float]:
        numbers = [one.number for one in order[len(asked) : len(asked) + len(candidates)]]
        asked.extend(numbers)
        return [speeds[number] for number in numbers]

    monkeypatch.setattr(within_limit, "_timed", timed)
    for by_kind, expected in ((True, [1, 3, 2, 4, 5, 6, 7, 0]), (False, [1, 2, 3, 4, 5, 6, 7, 0])):
        order = each_kind_first(trials, candidate_of) if by_kind else trials
        asked.clear()
        found = best_at_length(prepared, trials, 8.0, Where("here", {}), by_kind=by_kind)
        assert [one.trial for one, _ in found] == expected
    assert logged == [{"event": "too slow", "trial": 0, "speedup": 7.0}] * 2


@pytest.mark.parametrize("name", ["here", OF_CHOICE])
def test_the_log_keeps_the_speeds_that_a_choice_rests_on(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those on another machine say nothing of the search's."""
    trials = numbered("recipe", ["a", "a"])
    for one in trials:
        one.set_user_attr("loss", 0.1)
    logged: list[tuple[Any, ...]] = []
    run = SimpleNamespace(log=lambda event, **fields: logged.append((event, *fields.values())))
    prepared: Any = SimpleNamespace(context=SimpleNamespace(settings=Settings(), run=run))
    monkeypatch.setattr(within_limit, "_timed", lambda *_: [1.5, 2.5])
    found = best_at_length(prepared, trials, None, Where(name, {}))
    assert [one.trial for one, _ in found] == [1, 0]
    assert logged == (
        [("timed again", 0, 1.5), ("timed again", 1, 2.5)] if name == OF_CHOICE else []
    )


@pytest.mark.parametrize("cost", ["params", "macs"])
def test_the_best_of_each_kind_comes_first_where_nothing_is_timed(cost: str) -> None:
    prepared: Any = SimpleNamespace(context=SimpleNamespace(settings=Settings(cost=cost)))
    trials = numbered("recipe", ["plain", "plain", "other"])
    found = best_at_length(prepared, trials, None, Where("here", {}), by_kind=True)
    assert [one.trial for one, _ in found] == [0, 2, 1]


def put(context: Any, one: Winner, folder: Path, text: str = "", **other: Any) -> None:
    """A whole checkpoint of a trial's student, by the recipe of the run or another."""
    folder.mkdir(parents=True)
    key = {**record_of(context.settings, one.candidate, one.trial), **other}
    (folder / "kdnas.json").write_text(json.dumps({"key": key, "files": {}}))
    (folder / "text").write_text(text)


@pytest.fixture
def three(tmp_path: Path) -> tuple[Any, list[FrozenTrial], list[Winner]]:
    """The context of a run whose search found three students, the best first."""
    runtime = SimpleNamespace(device=SimpleNamespace(type="cpu"), precision="fp32")
    run = SimpleNamespace(folder=tmp_path)
    context = SimpleNamespace(settings=Settings(), run=run, runtime=runtime)
    trials = numbered("num_hidden_layers", cast(Any, [1, 2, 3]))
    return context, trials, [Winner.of(trial, context.settings) for trial in trials]


def test_a_new_first_finalist_overwrites_no_student_of_another_trial(three: Any) -> None:
    context, _, (first, second, third) = three
    run, place = context.run.folder, partial(finalists.place_of_finalist, context)
    assert place(first, True) == run / "student"
    for own in (run / "student", run / ASIDE):
        put(context, third, own, "third")
        [new, _] = within_limit._trainings([first, second], place, 0)
        assert new.folder == run / "students" / "trial-0" / "student"
        put(context, first, new.folder, "first")
        finalists._put_in_place(context, first)
        assert (own / "text").read_text() == "first"
        assert (run / "students" / "trial-2" / "student" / "text").read_text() == "third"
        shutil.rmtree(own), shutil.rmtree(run / "students")


def test_a_student_of_an_earlier_recipe_takes_no_place_of_a_later_one(three: Any) -> None:
    context, _, (first, second, _) = three
    run = context.run.folder
    put(context, second, run / "student", "early", recipe=[])
    for one in (first, second):
        put(context, one, run / "students" / f"trial-{one.trial}" / "student", "late")
    finalists._put_in_place(context, first)
    assert (run / "students" / "trial-1" / "student" / "text").read_text() == "late"
    assert key_of(run / "student") == record_of(context.settings, first.candidate, 0)


def test_students_that_are_there_already_are_compared_too(
    three: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, trials, (first, second, third) = three
    run, speeds = context.run.folder, {second.candidate: 2.5, third.candidate: 1.5}
    prepared: Any = SimpleNamespace(context=context)
    monkeypatch.setattr(finalists, "speed_of_student", lambda _, one, *__: speeds[one])
    assert finalists._made_before(prepared, trials, [first]) == []
    put(context, second, run / "student")
    put(context, third, run / "students" / "trial-2" / "student")
    assert finalists._made_before(prepared, trials, [first]) == [second, third]
    assert finalists._made_before(prepared, trials, [first, second]) == [third]
    context.settings = Settings(speedup=2)
    assert finalists._made_before(prepared, trials, [first]) == [second]
    context.settings = Settings(epochs=1)
    assert finalists._made_before(prepared, trials, [first]) == [], "by another recipe"


@pytest.mark.slow
def test_the_best_finalist_ships_and_the_others_are_kept(
    finished_run: Path, tmp_path: Path, command: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    before = json.loads((run / "report.json").read_text())
    first = before["student"]["trial"]
    other = 1 - first
    table = (run / "trials.csv").read_text().splitlines()
    assert len(table) == 3 and before["search"]["finalists"] == []
    labels = {first: before["student"]["name"]}
    code, error = command("resume", run, "--finalists", 3)
    assert code == 0, error
    report = json.loads((run / "report.json").read_text())
    found = report["search"]["finalists"]
    assert [one["trial"] for one in found] == [first, other]  # there are no more
    labels |= {one["trial"]: one["name"] for one in found}
    tau = report["search"]["finalists_tau"]
    assert tau in (None, 1.0, -1.0)
    command.all = ""
    assert command("resume", run, "--dry-run") == (0, "")
    assert "distil" not in command.all
    # Whichever is better by the held-out rows is the run's own, whoever was it before.
    for best in (other, other, first):
        prefer(monkeypatch, labels[best])
        command.all = ""
        code, error = command("resume", run)
        assert code == 0, error
        assert "distilling" not in command.all.replace("hand-picked: distilling", "")
        own, beside = run / "student", run / "students" / f"trial-{first + other - best}"
        assert (key_of(own) or {})["trial"] == best
        assert content_of(own) != content_of(beside / "student")
        assert json.loads((run / "report.json").read_text())["student"]["trial"] == best
        assert not (run / "students" / f"trial-{best}" / "student").exists()
    damaged = run / "student" / "model.safetensors"
    damaged.write_bytes(b"damaged")
    code, error = command("resume", run)  # a finalist that is lost is distilled again
    assert code == 0, error
    assert (key_of(run / "student") or {})["trial"] == first
