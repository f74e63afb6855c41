"""The Python API: what the commands do, as functions."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kdnas
from kdnas import Candidate, Distilled, KdnasError, LoadedRun, distill, load_run, search
from kdnas.runtime.jobs import job


@pytest.fixture(scope="module")
def run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    """A copy of a finished search of two candidates."""
    return load_run(shutil.copytree(finished_run, tmp_path_factory.mktemp("api") / "run"))


def test_a_run_is_read(run: LoadedRun) -> None:
    assert run.student is not None and (run.student / "model.safetensors").exists()
    assert run.report is not None and run.report.task == "mrpc"
    assert len(run.scored) == 2 and 1 <= len(run.front) <= 2
    best = Candidate.from_params(run.scored.iloc[0].to_dict())
    assert best.architecture.num_hidden_layers >= 1


def test_load_run_reads_the_same_and_writes_nothing(run: LoadedRun) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*") if path.is_file()}
    again = load_run(str(run.folder))
    assert again.report == run.report and again.trials.equals(run.trials)
    after = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*") if path.is_file()}
    assert {k: v for k, v in after.items() if "study.db" not in k.name} == {
        k: v for k, v in before.items() if "study.db" not in k.name
    }


@pytest.mark.slow
def test_another_trial_is_distilled_beside_the_winner(run: LoadedRun) -> None:
    assert run.report is not None
    other = next(n for n in run.scored.number if n != run.report.student.trial)
    made = distill(run.folder, trial=int(other))
    assert made.folder == run.folder / "students" / f"trial-{other}"
    assert (made.student / "config.json").exists() and (made.folder / "report.json").exists()
    assert made.report.student.trial == other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either --trial N or --speedup X"),
        ({"trial": 0, "speedup": 2.0}, "give either --trial N or --speedup X"),
        ({"trial": -1}, "invalid --trial -1"),
    ],
)
def test_distill_refuses_what_names_no_trial(
    run: LoadedRun, arguments: dict[str, float], message: str
) -> None:
    with pytest.raises(KdnasError, match=message):
        distill(run.folder, **arguments)  # type: ignore[arg-type]


def test_unknown_options_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KdnasError, match="trails"):
        search(out=tmp_path / "run", trails=3)
    with pytest.raises(KdnasError, match="does not exist"):
        load_run(tmp_path / "nowhere")


def test_what_search_and_distill_return_is_a_path(run: LoadedRun, tmp_path: Path) -> None:
    assert Path(run) == run.folder and load_run(run).folder == run.folder
    assert run.report is not None
    assert repr(run).startswith("LoadedRun(") and len(repr(run)) < 1000
    made = Distilled(run.folder, run.report)
    assert Path(made) == run.student and len(repr(made)) < 1000
    of_run, of_student = kdnas.predict(run, ["a"], pairs=["b"]), kdnas.predict(made, "a", pairs="b")
    assert of_run == of_student
    assert kdnas.export(run, out=tmp_path / "out")["folder"] == str(tmp_path / "out")


def test_the_own_trial_of_a_run_whose_control_ships_has_its_student(
    run: LoadedRun, tmp_path: Path
) -> None:
    assert run.report is not None and run.report.search is not None
    number = run.report.search.winner
    assert number is not None
    folder = Path(shutil.copytree(run.folder, tmp_path / "run"))
    own = Distilled(folder, run.report).student
    if own == folder / "student":  # it ships: another does in its place
        own = Path(shutil.move(own, folder / "controls" / "searched"))
        shutil.copytree(folder / "controls" / "fine-tuned", folder / "student")
    assert Distilled(folder, run.report).student == own
    kdnas.export(folder, trial=number, out=tmp_path / "out")
    weights = [at / "model.safetensors" for at in (own, tmp_path / "out", folder / "student")]
    of_own, exported, shipped = (file.read_bytes() for file in weights)
    assert of_own == exported != shipped


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: kdnas.predict(run, ["a"], threads=-1), "invalid --threads '-1': expected 1"),
        (lambda run: kdnas.predict(run, None), "invalid texts, NoneType: expected a text"),
        (
            lambda run: kdnas.evaluate(run, seeds="three"),
            "invalid --seeds three: expected a whole number from 1",
        ),
        (
            lambda run: kdnas.evaluate(run, class_weights="balanced"),
            "kdnas.evaluate has no option 'class_weights'; ",
        ),
        (
            lambda run: kdnas.evaluate(run, max_lenght=9),
            "kdnas.evaluate has no option 'max_lenght'; did you mean 'max_length'?",
        ),
        (
            lambda run: kdnas.evaluate(run, lrs=-1e-4),
            "invalid --lrs '-0.0001': expected numbers above 0 such as 3e-5,1e-4",
        ),
        (
            lambda run: kdnas.predict(run, ["a"], pairs=[3]),
            "cannot label a number instead of text",
        ),
        (lambda run: kdnas.evaluate(run, epochs="x"), "invalid --epochs x: expected a number from"),
        (lambda run: distill(run, trial="2"), "invalid --trial 2: expected the number of a trial"),
        (lambda run: kdnas.export(run, max_drop="lots"), "invalid max_drop 'lots': expected a num"),
        (lambda run: kdnas.export(run, trial="x"), "invalid trial 'x': expected a whole number"),
    ],
)
def test_arguments_of_another_kind_are_refused(
    call: Callable[[LoadedRun], object], message: str, run: LoadedRun
) -> None:
    with pytest.raises(KdnasError, match=re.escape(message)):
        call(run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"finish": True, "trials": 9}, "--finish and --trials contradict each other"),
        ({"finish": True, "budget": "1h"}, "--finish and --budget contradict each other"),
        ({"cache_limit": "x"}, "invalid --cache-limit 'x': expected a size"),
        ({"device": "xpu"}, "this machine has none"),
    ],
)
def test_a_refused_resume_changes_nothing(
    changes: dict[str, Any], message: str, run: LoadedRun
) -> None:
    before = (run.folder / "config.yaml").read_text()
    with pytest.raises(KdnasError, match=message):
        kdnas.resume(run, **changes)
    assert (run.folder / "config.yaml").read_text() == before


def test_what_the_commands_refuse_at_once_the_functions_refuse(
    run: LoadedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in (kdnas.predict, kdnas.evaluate):
        with pytest.raises(KdnasError, match="there is no run runs/none here; give a run"):
            call("runs/none", "mrpc")
        with pytest.raises(KdnasError, match="invalid MODEL '': give a run, a checkpoint"):
            call("", "mrpc")
    monkeypatch.setenv("KDNAS_DATA_DIR", "/nowhere")
    with pytest.raises(KdnasError, match="invalid KDNAS_DATA_DIR '/nowhere'"):
        kdnas.evaluate(run)


@pytest.mark.parametrize(
    "call",
    [
        lambda run, out: search(run.folder / "teacher", "mrpc", out=out),
        lambda run, out: kdnas.resume(run, trials=3),
        lambda run, out: distill(run, trial=0),
        lambda run, out: distill(task="mrpc", architecture="half", out=out),
        lambda run, out: kdnas.evaluate(run, out=out),
        lambda run, out: kdnas.export(run, out=out),
        lambda run, out: kdnas.predict(run, ["a"], pairs=["b"]),
    ],
)
def test_a_thread_is_refused_while_another_works(
    call: Callable[[LoadedRun, Path], object], run: LoadedRun, tmp_path: Path
) -> None:
    told: list[object] = []

    def tried() -> None:
        with pytest.raises(KdnasError, match="another kdnas job runs in this process") as refusal:
            call(run, tmp_path / "out")
        told.append(refusal)

    thread = threading.Thread(target=tried)
    with job():
        thread.start()
        thread.join()
    assert told and not (tmp_path / "out").exists()


def test_every_public_name_is_there_and_none_is_slow_to_import() -> None:
    for name in kdnas.__all__:
        assert getattr(kdnas, name) is not None
    assert {*kdnas.__all__} <= {*dir(kdnas)}
    with pytest.raises(AttributeError, match="nothing"):
        _ = kdnas.nothing
    code = "import sys, kdnas; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
