from __future__ import annotations

import time

import pytest
import torch

from kdnas.config import Settings
from kdnas.study.presence import present, share_of_cores
from kdnas.testing.processes import Child


def here() -> None:
    with present("study"):
        print("here", flush=True)
        time.sleep(600)


def worker() -> Child:
    child = Child(here)
    child.wait_until(lambda: child.output == "here\n")
    return child


def test_processes_of_a_study_are_counted_and_killed_ones_are_not() -> None:
    children = [worker(), worker()]
    try:
        with present("study") as count:
            assert count == 3
        with present("another study") as count:
            assert count == 1
        children[0].kill()
        children[0].wait()
        for _ in range(2):
            with present("study") as count:
                assert count == 2
    finally:
        for child in children:
            child.kill()
            child.wait()
    with present("study") as count:
        assert count == 1


def test_a_worker_takes_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert share_of_cores(Settings(), 1).threads is None
    assert share_of_cores(Settings(threads=5), 3).threads == 5
    assert capsys.readouterr().out == ""
    assert share_of_cores(Settings(), 3).threads == 2
    assert "takes 2 of 8 threads" in capsys.readouterr().out
    assert share_of_cores(Settings(), 20).threads == 1
