"""A hard limit on the speed-up holds in the final measurement: the next best, or exit code 3."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from conftest import Said

from kdnas.config import load_settings
from kdnas.files.artifact import key_of
from kdnas.space import Architecture, Candidate
from kdnas.study.winner import Winner
from kdnas.workflow.distilling import within_limit


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished search whose trials were all timed as ten times as fast."""
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    with closing(sqlite3.connect(run / "study.db")) as base, base:
        base.execute("UPDATE trial_user_attributes SET value_json = '10.0' WHERE key = 'speedup'")
    return run


def by_loss(run: Path) -> list[tuple[int, str]]:
    """Numbers and labels of the trials, the best first."""
    study = optuna.load_study(study_name="kdnas", storage=f"sqlite:///{run}/study.db")
    trials = sorted(study.trials, key=lambda t: t.user_attrs["loss"])
    return [(t.number, Candidate.from_params(t.params).label) for t in trials]


def test_the_next_best_is_taken_where_the_best_is_too_slow(
    run: Path, command: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, slow), (second, _) = by_loss(run)
    real = within_limit._timed

    def timed(prepared: Any, candidates: list[Candidate], where: Any) -> list[float]:
        speeds = real(prepared, candidates, where)
        return [
            0.04 if one.label == slow else fast
            for one, fast in zip(candidates, speeds, strict=True)
        ]

    monkeypatch.setattr(within_limit, "_timed", timed)
    code, error = command("distill", run, "--speedup", 0.05)
    assert code == 0, error
    assert f"trial {first}  {slow}  is 0.04 times as fast, timed at length" in command.all
    home = (
        run
        if json.loads((run / "report.json").read_text())["student"]["trial"] == second
        else (run / "students" / f"trial-{second}")
    )
    report = json.loads((home / "report.json").read_text())
    assert report["student"]["trial"] == second and report["speedup"] >= 0.05


def test_another_speed_up_leaves_the_run_its_own_student(
    run: Path, command: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: (run / "student" / name).read_bytes() for name in ("kdnas.json", "config.json")}
    own = (key_of(run / "student") or {})["trial"]
    monkeypatch.setattr(within_limit, "measured", lambda *_: {"costs": {"speedup": 0.04}})
    code, error = command("distill", run, "--speedup", 0.05)
    assert code == 3, error
    assert f"trial {own}" in command.all, "it was the best, and is passed over"
    assert before == {name: (run / "student" / name).read_bytes() for name in before}
    assert not (run / "students" / f"trial-{own}").exists()


@pytest.mark.slow
def test_without_any_it_says_what_can_be_had(run: Path, command: Said) -> None:
    before = (run / "report.json").read_bytes()
    code, error = command("distill", run, "--speedup", 9.5)
    assert code == 3 and error.count("\n") == 1
    assert "no student keeps --speedup 9.5: timed at length, the fastest of those tried" in error
    assert f"`kdnas distill {run} --speedup " in error
    assert (run / "report.json").read_bytes() == before and not (run / "students").exists()
    code, error = command("distill", run, "--speedup", 11)
    assert code == 3 and "no trial is 11 times as fast; the fastest is 10.00 times" in error


def with_limit(run: Path) -> None:
    """A run as if it had begun with a limit."""
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("speedup: null", "speedup: 0.05"))
    with closing(sqlite3.connect(run / "study.db")) as base, base:
        base.execute("UPDATE study_user_attributes SET value_json = replace(value_json, "
                     "'\"speedup\": null', '\"speedup\": 0.05')")  # fmt: skip


def test_a_run_that_goes_on_elsewhere_keeps_the_student_that_it_chose(
    run: Path, command: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_limit(run)
    code, error = command("resume", run)
    assert code == 0, error
    chosen = key_of(run / "student")
    # Another machine, on which no student is so fast.
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    monkeypatch.setattr(within_limit, "measured", lambda *_: {"costs": {"speedup": 0.04}})
    monkeypatch.setattr("platform.platform", lambda: "another")
    command.all = ""
    code, error = command("resume", run)
    assert code == 0, error
    assert key_of(run / "student") == chosen
    assert "distilling" not in command.all and "timed at length" not in command.all


def test_a_search_ships_no_student_that_misses_the_limit(
    run: Path, command: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_limit(run)
    monkeypatch.setattr(within_limit, "measured", lambda *_: {"costs": {"speedup": 0.04}})
    code, error = command("resume", run)
    assert code == 3 and "no student keeps --speedup 0.05" in error and "0.04 times" in error
    assert not (run / "student").exists()
    assert {f.name for f in (run / "students").iterdir()} == {"trial-0", "trial-1"}
    assert command("export", run)[0] == 2


def test_the_first_finalist_leaves_the_student_of_another_in_its_place(tmp_path: Path) -> None:
    student, shape = tmp_path / "student", Architecture(2, 2, 16, 32, "gelu")
    first, second = (Winner(Candidate(shape), number) for number in (5, 3))

    def place(there: int | None) -> within_limit.PlaceOf:
        def place_of(one: Winner, is_first: bool) -> Path:
            return student if one.trial == there or is_first else tmp_path / f"trial-{one.trial}"

        return place_of

    def folders(there: int | None, number: int = 0) -> list[str]:
        found = within_limit._trainings([first, second], place(there), number)
        return [one.folder.name for one in found]

    assert folders(None) == ["student", "trial-3"]
    assert folders(3) == ["trial-5", "student"], "it was the winner before trial 5"
    assert folders(None, number=1) == ["trial-5", "trial-3"]
    steps = [one.step for one in within_limit._trainings([first, second], place(None), 0)]
    assert steps == ["distil", "distil finalist 2"]


def test_recipes_that_differ_beside_their_stages_have_students_of_their_own(tmp_path: Path) -> None:
    stage = {
        "name": "one",
        "data": "task",
        "losses": {"task": 1, "hidden": 1},
        "epochs": 1,
        "lr": 0.001,
    }
    each = {"warm": {}, "cold": {"inherit": False}, "copy": {}, "skip": {"mapping": "skip"}}
    for name, own in each.items():
        (tmp_path / f"{name}.yaml").write_text(json.dumps({"stages": [stage], **own}))
    names = ",".join(str(tmp_path / f"{name}.yaml") for name in each)
    settings = load_settings((), {"recipes": names})
    shape = Candidate(Architecture(1, 2, 16, 32, "gelu"))
    given = [Winner(replace(shape, recipe=name), i) for i, name in enumerate(each)]
    prepared: Any = SimpleNamespace(context=SimpleNamespace(settings=settings))
    where: Any = None  # nothing is timed
    timed = [(one, None) for one in given]
    found = [one for one, _ in within_limit._fast_enough(prepared, timed, None, where, {})]
    assert [one.candidate.recipe for one in found] == ["warm", "cold", "skip"]
