"""Processes that are forked to compute side by side."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import optuna
import psutil
import pytest
import torch
from support.processes import Child

from kdnas.errors import KdnasError, MissedLimitError
from kdnas.runtime.console import say
from kdnas.runtime.process import is_beside, process_name
from kdnas.runtime.side_by_side import Ask, can_fork, side_by_side
from kdnas.study.attributes import WORKER
from kdnas.study.workers import of_others

pytestmark = pytest.mark.skipif(
    not can_fork(torch.device("cpu")), reason="processes are not forked here"
)


def nothing() -> None:
    """Is called now and then."""


def test_each_asks_and_tells_this_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = os.getpid()

    def work(ask: Ask) -> None:
        assert torch.get_num_threads() == 1
        torch.ones(600, 600) @ torch.ones(600, 600)
        say("all are done")
        say(f"{os.getpid()} says so")
        (tmp_path / str(os.getpid())).write_text(str(ask(20)))

    def answer(question: int) -> int:
        assert os.getpid() == main
        return question + 1

    torch.ones(600, 600) @ torch.ones(600, 600)  # threads that no fork has
    side_by_side(2, work, answer, nothing)
    files = list(tmp_path.iterdir())
    assert [file.read_text() for file in files] == ["21", "21"]
    said = capsys.readouterr().out.splitlines()
    assert said.count("all are done") == 1 and len(said) == 3
    assert {line.split()[0] for line in said if "so" in line} == {file.name for file in files}


def test_processes_of_one_command_know_each_other(tmp_path: Path) -> None:
    """A person is told of what others work on, not of the command's own processes."""
    main = process_name()
    names = dict[str, str]()

    def answer(given: tuple[str, str]) -> dict[str, str]:
        names[given[0]] = given[1]
        return names

    def work(ask: Ask) -> None:
        own, known = str(os.getpid()), dict[str, str]()
        while len(known) < 2:
            known = ask((own, process_name()))
        [beside] = [name for by, name in known.items() if by != own and name != "done"]
        study = optuna.create_study()
        for name in (beside, main, "node-3:boot-1:4711:99"):
            study.ask().set_user_attr(WORKER, name)
        (tmp_path / own).write_text(str([trial.number for trial in of_others(study.trials)]))
        while sum(name == "done" for name in ask((f"{own} looked", "done")).values()) < 2:
            pass  # the other still looks

    side_by_side(2, work, answer, nothing)
    assert not is_beside(main)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["[1, 2]"] * 2


@pytest.mark.parametrize("error", [MissedLimitError("none is so fast"), ValueError(lambda: 0)])
def test_what_one_fails_with_ends_all(tmp_path: Path, error: Exception) -> None:
    def work(ask: Ask) -> None:
        if ask(0) == 1:
            raise error
        try:
            time.sleep(30)
        finally:
            (tmp_path / "gave back").touch()

    answers = iter([1, 2])
    start = time.monotonic()
    with pytest.raises(KdnasError) as caught:
        side_by_side(2, work, lambda _: next(answers), nothing)
    assert isinstance(caught.value, MissedLimitError) or "ValueError" in str(caught.value)
    assert time.monotonic() - start < 20


def test_what_cannot_be_answered_fails_in_the_one_that_asked(tmp_path: Path) -> None:
    def work(ask: Ask) -> None:
        with pytest.raises(ZeroDivisionError):
            ask(0)
        (tmp_path / "done").touch()

    side_by_side(1, work, lambda question: 1 // question, nothing)
    assert (tmp_path / "done").exists()


def test_a_killed_one_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def work(ask: Ask) -> None:
        if ask(0) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        (tmp_path / "done").touch()

    answers = iter([1, 2])
    side_by_side(2, work, lambda _: next(answers), nothing)
    assert "was killed by signal 9" in capsys.readouterr().out
    assert (tmp_path / "done").exists()


def test_ctrl_c_lets_all_give_back_their_work(tmp_path: Path) -> None:
    def work(ask: Ask) -> None:
        try:
            ask(0)
            time.sleep(30)
        finally:
            (tmp_path / str(os.getpid())).touch()

    asked = []

    def tick() -> None:
        if len(asked) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side(2, work, asked.append, tick)
    assert len(list(tmp_path.iterdir())) == 2


def kill_the_parent(folder: str) -> None:
    """Side by side until something kills this process."""

    def work(ask: Ask) -> None:
        try:
            (Path(folder) / str(os.getpid())).touch()
            time.sleep(60)
        finally:
            (Path(folder) / f"{os.getpid()} gave back").touch()

    side_by_side(2, work, lambda _: None, nothing)


@pytest.mark.slow
def test_none_outlives_its_parent(tmp_path: Path) -> None:
    parent = Child(kill_the_parent, str(tmp_path))
    parent.wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    pids = [int(file.name) for file in tmp_path.iterdir()]
    parent.kill()
    end = time.monotonic() + 20
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < end:
        time.sleep(0.1)
    assert len(list(tmp_path.iterdir())) == 4
