"""The record of what scores were worth on a machine."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Said
from made_runs import make_run, report_of

from kdnas.report.data import read_run
from kdnas.report.fidelity import fidelity_section
from kdnas.report.history import (
    Measurement,
    by_task_type,
    history_lines,
    measurements,
    record_file,
    remember,
)
from kdnas.runs.run_folder import Run
from kdnas.tasks import load_spec
from kdnas.workflow.remember import remember_finalists, remember_tau


@pytest.fixture(autouse=True)
def own_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))


def measured(**changes: Any) -> Measurement:
    plain: dict[str, Any] = {
        **{"kind": "fidelity", "tau": 0.6, "n": 16, "task": "mrpc", "teacher": "bert"},
        **{"task_type": "classification", "scorer": "mini-kd", "score": "hidden"},
        **{"recipe": "default", "seconds": 12.5, "date": "2026-01-02T03:04:05+00:00"},
        **{"kdnas": "0.1.0", "run": "/runs/a"},
    }
    return Measurement(**{**plain, **changes})


def test_the_last_measurement_of_a_subject_counts_and_a_repetition_adds_nothing() -> None:
    first, later = measured(), measured(tau=0.5, date="2026-01-03T03:04:05+00:00")
    other = measured(run="/runs/b", date="2026-01-01T03:04:05+00:00")
    for one in (first, first, other, later, later):
        remember(one)
    assert len(record_file().read_text().splitlines()) == 3
    assert measurements() == [later, other]


def test_damaged_lines_are_left_out_and_stay(capsys: pytest.CaptureFixture[str]) -> None:
    remember(measured())
    whole = record_file().read_text()
    bad = json.dumps({**json.loads(whole), "tau": 7})
    record_file().write_text(f'{whole}{{"tau": 0.\n{bad}\n{whole[:20]}')
    remember(measured(run="/runs/b"))
    assert {one.run for one in measurements()} == {"/runs/a", "/runs/b"}
    said = capsys.readouterr().out
    assert "2 damaged lines" in said and "1 line that kdnas did not write" in said
    assert record_file().read_text().startswith(whole)


def test_processes_that_write_at_once_lose_nothing() -> None:
    def write(name: int) -> None:
        for i in range(20):
            remember(measured(run=f"/runs/{name}-{i}"))

    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=write, args=(name,)) for name in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert len(measurements()) == 80


def test_a_record_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "file"))
    remember(measured())
    assert "the record of fidelity is not written" in capsys.readouterr().out
    assert measurements() == []


def test_means_by_type_of_task() -> None:
    several = [measured(), measured(task_type="regression", tau=0.2), measured(tau=0.8, n=8)]
    means = by_task_type(several)
    assert means["regression"]["tau"] == pytest.approx(0.2)
    both = means["classification"]
    assert (both["measurements"], both["students"]) == (2, 24)
    assert 0.6 < both["tau"] < 0.7  # nearer to that of more students
    low, high = both["interval"]
    assert -1 <= low < both["tau"] < high <= 1


def test_the_command_prints_table_and_means(command: Said) -> None:
    code, error = command("fidelity", "--history")
    assert (code, error) == (0, "") and "nothing measured yet" in command.all
    remember(measured())
    remember(measured(kind="finalists", n=3, tau=-1 / 3, task="stsb", task_type="regression"))
    lines = history_lines(measurements())
    assert all(len(line) <= 80 for line in lines[:-1])
    command.all = ""
    assert command("fidelity", "--history") == (0, "")
    assert "2026-01-02  mrpc  hidden  default   0.600  16   fidelity     12.5" in command.all
    assert "regression: mean tau -0.33, 95% interval -1.00 to" in command.all
    assert "  -0.333   3  finalists     12.5" in command.all
    command.all = ""
    assert command("fidelity", "--history", "--json")[0] == 0
    shown = json.loads(command.all)
    assert shown["by_task_type"]["classification"]["students"] == 16
    assert [one["task"] for one in shown["measurements"]] == ["mrpc", "stsb"]


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"recipe": "default,relations@0.3,static"}, "  mrpc  hidden  3 recipes"),
        ({"task": "a-task-with-quite-a-long-name", "recipe": "/home/me/recipes/mine.yaml"}, "…"),
    ],
)
def test_numbers_are_whole_however_long_names_are(changes: dict[str, str], shown: str) -> None:
    row = history_lines([measured(kind="finalists", tau=-0.333, **changes)])[1]
    assert row.startswith("2026-01-02  ") and shown in row and len(row) <= 80
    assert row.split()[-4:] == ["-0.333", "16", "finalists", "12.5"]


def test_bad_requests_are_refused(command: Said, tmp_path: Path) -> None:
    assert command("fidelity")[0] == 2
    assert "no run given: name a run folder, or give --history" in command.all
    assert command("fidelity", tmp_path, "--history")[0] == 2
    assert "--history is of all runs on this machine" in command.all


def test_a_report_has_its_own_tau_beside_that_of_other_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    finalists = [
        {"trial": i, "name": f"{i}x16", "score": 0.5 + i / 9, "selection": 0.6 + i / 9}
        for i in range(3)
    ]
    report = report_of(search__finalists=finalists, search__finalists_tau=1.0)
    spec = load_spec("sst2")
    remember_finalists(run, report, spec)
    remember_finalists(run, report_of(), spec)  # had one finalist
    remember_tau(run, spec, "fidelity", None, 12, 3.0)  # all ties
    [own] = measurements()
    assert (own.tau, own.n, own.kind, own.seconds) == (1.0, 3, "finalists", 5.0)
    assert (own.task, own.run) == ("sst2", str(run.folder.resolve()))
    data = read_run(Run.open(run.folder))
    assert "other runs" not in fidelity_section(data).told
    remember(measured(tau=0.25))
    told = fidelity_section(replace(data, record=measurements())).told
    assert "In other runs on this machine, for classification: mean tau 0.25, 95%" in told
