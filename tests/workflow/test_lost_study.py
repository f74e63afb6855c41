"""A finished run whose study is lost, damaged or another's: nothing is searched anew."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pandas as pd
import pytest
from conftest import Said

from kdnas.runs.run_folder import Run
from kdnas.space import SearchSpace
from kdnas.study import optimize
from kdnas.study.rebuild import rebuild_study
from kdnas.study.whole import check_whole
from kdnas.teachers.load import load_config


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished search of two candidates, with random search beside it."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture(scope="module")
def space(teacher_folder: Path) -> SearchSpace:
    return SearchSpace.from_teacher(load_config(str(teacher_folder)), "its teacher")


def content(run: Path) -> dict[str, bytes]:
    """The files of a run that no command may change without a study."""
    files = [run / name for name in ("trials.csv", "report.json", "random-search.csv")]
    files += [f for f in (run / "student").iterdir() if f.is_file()]
    return {str(f.relative_to(run)): f.read_bytes() for f in files}


def trials_of(run: Path, name: str = "kdnas") -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{run}/study.db").trials


def execute(run: Path, *statements: str) -> None:
    with closing(sqlite3.connect(run / "study.db")) as base, base:
        for statement in statements:
            base.execute(statement)


def is_gone(run: Path) -> None:
    (run / "study.db").unlink()


def is_empty(run: Path) -> None:
    (run / "study.db").write_bytes(b"")


def is_another_programs(run: Path) -> None:
    is_gone(run)
    execute(run, "CREATE TABLE notes (line TEXT)", "INSERT INTO notes VALUES ('mine')")


def is_truncated(run: Path) -> None:
    with (run / "study.db").open("rb+") as file:
        file.truncate(20_000)


def is_garbage(run: Path) -> None:
    (run / "study.db").write_bytes(b"garbage " * 5000)


def is_zeroed_in_the_middle(run: Path) -> None:
    with (run / "study.db").open("rb+") as file:
        file.seek((run / "study.db").stat().st_size // 2)
        file.write(bytes(20_000))


def is_a_folder(run: Path) -> None:
    is_gone(run)
    (run / "study.db").mkdir()


def is_a_dead_link(run: Path) -> None:
    is_gone(run)
    (run / "study.db").symlink_to(run / "nowhere")


def has_another_name(run: Path) -> None:
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("study: kdnas\n", "study: mine\n"))


def is_that_of_the_control(run: Path) -> None:
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("study: kdnas\n", "study: kdnas-random\n"))


def lost_parameters(run: Path) -> None:
    execute(run, "DELETE FROM trial_params WHERE param_name = 'hidden_size'")


def lost_values(run: Path) -> None:
    execute(run, "DELETE FROM trial_values")


def lost_attributes(run: Path) -> None:
    execute(run, "DELETE FROM trial_user_attributes WHERE key = 'reward'")


def lost_trials(run: Path) -> None:
    execute(run, "DELETE FROM trials WHERE number > 0")


def has_no_directions(run: Path) -> None:
    execute(run, "DELETE FROM study_directions")


def has_a_trial_of_another_program(run: Path) -> None:
    study = optuna.load_study(study_name="kdnas", storage=f"sqlite:///{run}/study.db")
    study.add_trial(
        optuna.trial.create_trial(
            value=99.0,
            params={"x": 1.0},
            distributions={"x": optuna.distributions.FloatDistribution(0, 2)},
        )
    )


DAMAGES = [
    *(is_gone, is_empty, is_another_programs, is_truncated, is_garbage, is_zeroed_in_the_middle),
    *(is_a_folder, is_a_dead_link, has_another_name, is_that_of_the_control, lost_parameters),
    *(lost_values, lost_attributes, lost_trials, has_no_directions, has_a_trial_of_another_program),
]


KEPT = ("units", "reward", "loss", "speedup", "params", "borrowed", "latency_runtime")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_finished_run_is_kept_and_its_study_made_again(
    run: Path,
    command: Said,
    space: SearchSpace,
    damage: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = content(run)
    old = {name: trials_of(run, name) for name in ("kdnas", "kdnas-random")}
    damage(run)
    code, error = command("resume", run)
    assert code == 2 and error.count("\n") == 1, error
    assert f"kdnas resume {run} --rebuild-study" in error
    assert content(run) == before
    monkeypatch.chdir(run.parent)
    opened = Run.open(Path(run.name))
    named = opened.settings.study
    rebuild_study(opened, space)
    check_whole(opened)
    assert opened.settings.study == named
    for name, trials in old.items():
        new = trials_of(run, name.replace("kdnas", opened.settings.study, 1))
        assert [(t.state, t.params, t.values, t.constraints) for t in new] == [
            (t.state, t.params, t.values, t.constraints) for t in trials
        ]
        for one, two in zip(new, trials, strict=True):
            assert [one.user_attrs.get(k) for k in KEPT] == [two.user_attrs.get(k) for k in KEPT]
    assert content(run) == before


@pytest.mark.slow
def test_after_that_nothing_is_done_again(
    run: Path, command: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, table = content(run), pd.read_csv(run / "trials.csv")
    is_gone(run)
    for words in (("report", run), ("worker", run), ("distill", run, "--trial", 0)):
        code, error = command(*words)
        assert code == 2 and error.count("\n") == 1, error
        assert f"kdnas resume {run} --rebuild-study" in error
        assert content(run) == before
    monkeypatch.setattr(optimize._Search, "_run_trial", lambda *_: pytest.fail("it searches anew"))
    code, error = command("resume", run, "--rebuild-study")
    assert code == 0, error
    after = content(run)
    assert {k: v for k, v in after.items() if "student/" in k and "README" not in k} == {
        k: v for k, v in before.items() if "student/" in k and "README" not in k
    }
    pd.testing.assert_frame_equal(pd.read_csv(run / "trials.csv"), table)


def test_what_is_not_in_the_table_comes_from_the_log_or_is_done_again(
    run: Path, command: Said, space: SearchSpace
) -> None:
    old = trials_of(run)
    is_gone(run)
    (run / "trials.csv").unlink()
    log = run / "log.jsonl"
    lines = log.read_text().splitlines()
    saved = {int(f.name) for f in (run / "trials").iterdir()}
    lost = max(saved)
    lines = [x for x in lines if not (f'"number": {lost},' in x and '"control": false' in x)]
    log.write_text("\n".join([*lines, '{"event": "trial", "num']))
    code, error = command("resume", run)
    assert code == 2 and "1 finished trial on record" in error
    opened = Run.open(run)
    rebuild_study(opened, space)
    new = trials_of(run)
    assert [t.state.name for t in new][lost] == "FAIL" and new[-1].state.name == "WAITING"
    assert new[-1].system_attrs["fixed_params"] == old[lost].params
    assert {tuple(t.params.values()) for t in new if t.values} < {
        tuple(t.params.values()) for t in old
    }
    command.all += command.capfd.readouterr().out
    assert f"{log} has 1 damaged line, left out" in command.all


@pytest.mark.slow
def test_a_run_that_is_not_finished_keeps_its_trials(run: Path, command: Said) -> None:
    for name in ("student", "controls"):
        shutil.rmtree(run / name)
    for name in ("report.json", "trials.csv", "study.db", "random-search.csv"):
        (run / name).unlink()
    code, error = command("resume", run)
    assert code == 2 and "study.db is gone" in error and "--rebuild-study" in error
    code, error = command("resume", run, "--rebuild-study", "--trials", 3)
    assert code == 0, error
    states = [t.state.name for t in trials_of(run)]
    assert states.count("COMPLETE") == 3


def test_nothing_on_record_is_said(run: Path, command: Said) -> None:
    for name in ("trials.csv", "study.db", "log.jsonl", "random-search.csv"):
        (run / name).unlink()
    for name in ("trials",):
        shutil.rmtree(run / name)
    before, clock = (run / "student" / "model.safetensors").read_bytes(), run / "steps/clock.json"
    seconds = clock.read_bytes()
    for words in (("resume", run), ("resume", run, "--rebuild-study")):
        code, error = command(*words)
        assert code == 2 and error.count("\n") == 1, error
    assert (run / "student" / "model.safetensors").read_bytes() == before
    assert clock.read_bytes() == seconds, "a refusal takes none of the run's time"


def test_a_server_out_of_reach_is_no_lost_study(run: Path, command: Said) -> None:
    file = run / "config.yaml"
    kept = [line for line in file.read_text().splitlines() if not line.startswith("storage:")]
    file.write_text("\n".join([*kept, "storage: postgresql://me@127.0.0.1:1/db", ""]))
    code, error = command("resume", run)
    assert code == 2 and error.count("\n") == 1 and "--rebuild-study" not in error, error
    assert "127.0.0.1:1" in error and len(error) < 320
