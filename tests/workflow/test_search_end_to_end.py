"""The whole way through the command line, on small real teachers, in processes of their own."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from conftest import QUICK, flags_of, kdnas
from support.processes import kdnas_child

from kdnas.measure.quiet import ALONE
from kdnas.report.model import SEARCHED

CONTRACT = [
    *("number", "state", "num_hidden_layers", "num_attention_heads", "hidden_size"),
    *("intermediate_size", "hidden_act", "recipe", "vocabulary", "params", "macs", "latency_ms"),
    *("teacher_latency_ms", "speedup", "loss", "score", "reward", "seconds"),
]

WITHOUT_KDNAS = """
import sys
sys.modules["kdnas"] = None
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
print(model(**tokenizer("a good film", "a bad plot", return_tensors="pt")).logits.shape)
"""


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path, data_folder: Path
) -> Path:
    """A run that went its whole way."""
    run = tmp_path_factory.mktemp("runs") / "run"
    flags = {"teacher": teacher_folder, "task": "mrpc", "data_dir": data_folder, **QUICK}
    given = flags_of(flags)
    # By arithmetic, as latencies of so small models on a busy machine say little.
    given += ["--sampler", "lstm", "--random-control", "full", "--cost", "macs"]
    done = kdnas("search", *given, "--trials", 4, "--out", run)
    assert done.returncode == 0, done.stderr
    assert "teacher" in done.stdout and "fine-tuned without KD" in done.stdout
    return run


def test_the_run_folder_keeps_its_contract(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    files = {"config.yaml", "study.db", "trials.csv", "report.json", "pareto.html", "log.jsonl"}
    files |= {"report.html", "curves.jsonl"}
    assert files | {"student", "teacher"} <= names
    student = {path.name for path in (finished / "student").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= student


def test_the_trial_table(finished: Path) -> None:
    table = pd.read_csv(finished / "trials.csv")
    assert set(CONTRACT) <= set(table.columns)
    assert (table.state == "COMPLETE").all() and len(table) == 4
    assert len(table[CONTRACT[2:7]].drop_duplicates()) == 4
    assert table.loss.between(0, 1.5).all() and (table.speedup > 0).all()


def test_the_report(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    for model in (report["teacher"], report["student"]):
        assert {"name", "params", "latency_ms", "scores", "intervals"} <= model.keys()
        assert set(model["scores"]) == set(model["intervals"]) == {"accuracy", "f1"}
        for metric, (low, high) in model["intervals"].items():
            assert low <= model["scores"][metric] <= high
    assert report["version"] == 1 and f"{report['speedup']:.2f} times" in report["verdict"]
    assert report["speedup"] == report["student"]["speedup"]
    assert report["search"].items() >= {"sampler": "lstm", "trials": 4, "distinct": 4}.items()
    made = by_name(report)
    names = {"fine-tuned without KD", "hand-picked, as fast", "random search"}
    assert set(made) == {SEARCHED, *names}
    search = report["search"]
    assert search["random_search"]["evaluated"] == 4 and search["seen"] == 4
    fastest = [b["search"] for b in search["budgets"] if b["search"]]
    assert all(1 - best["score"] >= 0 for best in fastest)
    drawn = pd.read_csv(finished / "random-search.csv")
    assert (drawn.state == "COMPLETE").all() and len(drawn[CONTRACT[2:7]].drop_duplicates()) == 4
    own, on_labels = made[SEARCHED], made["fine-tuned without KD"]
    for same in ("params", "latency_ms", "speedup"):  # of one shape: timed once
        assert on_labels[same] == own[same]
    picked = made["hand-picked, as fast"]["architecture"]
    half = (report["teacher"]["architecture"]["num_hidden_layers"] + 1) // 2
    assert picked["num_hidden_layers"] == half and picked != made[SEARCHED]["architecture"]
    assert report["speedup"] > 0 and report["environment"]["threads"] == 1
    assert report["environment"]["latency_measured"] == ALONE


def by_name(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A report's students: the search's own and the controls, one of which has shipped."""
    controls = {one["name"]: one for one in report["controls"]}
    return {**controls, report["selection"]["shipped"]: report["student"]}


def test_the_searchs_student_has_the_best_reward(finished: Path) -> None:
    table = pd.read_csv(finished / "trials.csv")
    best = table.loc[table.reward.idxmax()]
    report = json.loads((finished / "report.json").read_text())
    architecture = by_name(report)[SEARCHED]["architecture"]
    assert best.hidden_size == architecture["hidden_size"]
    assert best.num_hidden_layers == architecture["num_hidden_layers"]


@pytest.mark.slow
def test_the_student_loads_without_kdnas(finished: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_KDNAS, str(finished / "student")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "[1, 2]" in done.stdout, done.stderr


def test_the_study_is_an_ordinary_one_with_plain_numbers(finished: Path) -> None:
    study = optuna.load_study(study_name="kdnas", storage=f"sqlite:///{finished}/study.db")
    assert len(study.trials) == 4 and study.best_value == max(t.value for t in study.trials)
    for trial in study.trials:
        assert all(isinstance(v, int | float | str) for v in trial.user_attrs.values())


def test_evaluate_agrees_with_the_report(finished: Path, data_folder: Path) -> None:
    given = ("--task", "mrpc", "--data-dir", data_folder, "--precision", "fp32", "--json")
    done = kdnas("evaluate", finished / "student", *given)
    scores = json.loads((finished / "report.json").read_text())["student"]["scores"]
    told = json.loads(done.stdout)["tasks"]["mrpc"]
    assert told["scores"] == pytest.approx(scores, abs=1e-5) and not told["tuned"]


def copied(finished: Path, tmp_path: Path) -> Path:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    return run


def test_report_and_export(finished: Path, tmp_path: Path) -> None:
    run = copied(finished, tmp_path)
    before = (run / "trials.csv").read_text()
    (run / "trials.csv").unlink()
    (run / "pareto.html").unlink()
    assert kdnas("report", run).returncode == 0
    assert (run / "trials.csv").read_text() == before
    assert "plotly" in (run / "pareto.html").read_text().lower()
    assert kdnas("export", run, "--out", tmp_path / "out").returncode == 0
    assert (tmp_path / "out" / "model.safetensors").exists()
    again = kdnas("export", run, "--out", tmp_path / "out")
    assert again.returncode == 2 and "is not empty" in again.stderr


def test_resume_adds_trials_and_repeats_nothing(finished: Path, tmp_path: Path) -> None:
    run = copied(finished, tmp_path)
    before = pd.read_csv(run / "trials.csv")
    done = kdnas("resume", run, "--trials", 6)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(run / "trials.csv")
    assert len(table) == 6 and len(table[CONTRACT[2:7]].drop_duplicates()) == 6
    pd.testing.assert_frame_equal(table.head(4)[CONTRACT], before[CONTRACT])
    assert "fine-tuning the teacher" not in done.stdout
    start = time.monotonic()
    assert kdnas("resume", run).returncode == 0
    assert time.monotonic() - start < 60
    assert len(pd.read_csv(run / "trials.csv")) == 6


@pytest.mark.slow
def test_distill_takes_another_trial(finished: Path, tmp_path: Path) -> None:
    run = copied(finished, tmp_path)
    student = json.loads((run / "report.json").read_text())["student"]
    other = next(n for n in range(4) if n != student["trial"])
    done = kdnas("distill", run, "--trial", other)
    assert done.returncode == 0, done.stderr
    home = run / "students" / f"trial-{other}"
    assert json.loads((home / "report.json").read_text())["student"]["trial"] == other
    assert (home / "student" / "model.safetensors").exists()
    assert json.loads((run / "report.json").read_text())["student"] == student
    refused = kdnas("distill", run, "--speedup", 10_000)
    assert refused.returncode == 3 and "the fastest is" in refused.stderr


@pytest.mark.slow
def test_distill_does_not_train_the_winner_again(finished: Path, tmp_path: Path) -> None:
    run = copied(finished, tmp_path)
    before = json.loads((run / "report.json").read_text())
    winner = before["student"]["trial"]
    done = kdnas("distill", run, "--trial", winner)
    assert done.returncode == 0, done.stderr
    assert f"trial {winner} is distilled already: it is the run's own student" in done.stdout
    assert "distilling" not in done.stdout and f"student: {run}/student" in done.stdout
    assert not (run / "students").exists()
    after = json.loads((run / "report.json").read_text())
    assert {k: after[k] for k in ("student", "search")} == {
        k: before[k] for k in ("student", "search")
    }


def test_distill_of_a_lost_study_makes_no_other(finished: Path, tmp_path: Path) -> None:
    run = copied(finished, tmp_path)
    (run / "study.db").unlink()
    done = kdnas("distill", run, "--trial", 0)
    assert done.returncode == 2 and "study.db is gone; put it back" in done.stderr
    assert not (run / "study.db").exists()


def test_a_total_below_what_is_done_is_refused_and_not_kept(finished: Path, tmp_path: Path) -> None:
    run = copied(finished, tmp_path)
    before = (run / "config.yaml").read_text()
    done = kdnas("resume", run, "--trials", 3)
    assert done.returncode == 2
    assert "invalid --trials 3: the study has 4 already" in done.stderr
    assert (run / "config.yaml").read_text() == before


def kill_when(run: Path, command: list[str], ready: Callable[[], bool], how: int) -> str:
    """Starts a command, sends it a signal as soon as something is so, and returns its output."""
    process = kdnas_child(*command)
    process.wait_until(ready)
    process.kill(how)
    assert process.wait(60) != 0
    return process.output


def started(run: Path, step: str) -> Callable[[], bool]:
    def ready() -> bool:
        log = run / "log.jsonl"
        return log.exists() and f'"start", "step": "{step}"' in log.read_text()

    return ready


def trials_finished(run: Path, count: int) -> Callable[[], bool]:
    def ready() -> bool:
        folder = run / "trials"
        return folder.exists() and sum(p.name.isdigit() for p in folder.iterdir()) >= count

    return ready


@pytest.mark.slow
def test_sigkill_in_every_step_then_resume(quick_flags: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    search = ["search", *quick_flags, "--trials", "3", "--out", str(run)]
    kill_when(run, search, started(run, "teacher"), signal.SIGKILL)
    resume = ["resume", str(run)]
    kill_when(run, resume, started(run, "signal"), signal.SIGKILL)
    kill_when(run, resume, trials_finished(run, 1), signal.SIGKILL)
    before = optuna.load_study(study_name="kdnas", storage=f"sqlite:///{run}/study.db").trials
    done_before = {t.number: t.params for t in before if t.state.name == "COMPLETE"}
    kill_when(run, resume, started(run, "distil student"), signal.SIGKILL)
    kill_when(run, resume, started(run, "control fine-tuned"), signal.SIGKILL)
    done = kdnas(*resume)
    assert done.returncode == 0, done.stderr
    trials = optuna.load_study(study_name="kdnas", storage=f"sqlite:///{run}/study.db").trials
    complete = [t for t in trials if t.state.name == "COMPLETE"]
    assert len(complete) == 3 and {t.state.name for t in trials} <= {"COMPLETE", "FAIL"}
    assert len({tuple(t.params.values()) for t in complete}) == 3
    assert all(trials[number].params == params for number, params in done_before.items())
    assert (run / "report.json").exists()


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(quick_flags: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    search = ["search", *quick_flags, "--trials", "50", "--out", str(run)]
    output = kill_when(run, search, trials_finished(run, 1), signal.SIGINT)
    assert f"kdnas resume {run}" in output and "Traceback" not in output
    trials = optuna.load_study(study_name="kdnas", storage=f"sqlite:///{run}/study.db").trials
    assert not [t for t in trials if t.state.name == "RUNNING"]
    assert kdnas("report", run).returncode == 0
