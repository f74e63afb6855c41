"""Measuring and computing in real processes that know nothing of each other."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from kdnas.measure import quiet
from kdnas.measure.quiet import (
    ALONE,
    BESIDE,
    computing,
    how_measured,
    lock_folder,
    measuring,
)
from kdnas.runtime.working_time import working_seconds

CPU = torch.device("cpu")

# A real training; each of its steps is told by when it began and ended.
TRAINING = """
import sys, time
import numpy as np
from kdnas.distillation import training as core
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signals import NoSignal
from kdnas.distillation.losses.logits import TaskLoss
from kdnas.runtime.device import start_runtime
from kdnas.tasks import Examples, encode, load_spec
from kdnas.teachers.load import load_teacher

step = core._Training.step

def told(self, batch):
    start = time.monotonic()
    loss = step(self, batch)
    time.sleep(0.02)
    print(start, time.monotonic(), flush=True)
    return loss

core._Training.step = told
teacher = load_teacher(sys.argv[1], load_spec("sst2"))
data = encode(Examples(["a good film"] * 64, None, np.arange(64) % 2), teacher.tokenizer, 16)
objective = WeightedLosses({"task": (1.0, TaskLoss())})
runtime = start_runtime(device="cpu", precision="fp32", threads=1)
core.train(teacher.model, objective, data, NoSignal(), Schedule(1000, 1e-3, 8), runtime, pad_id=0)
"""

HOLD = """
import sys, time, torch
from kdnas.measure.quiet import computing, measuring
print("starts", flush=True)
with measuring() if sys.argv[1] == "measuring" else computing(torch.device("cpu")):
    print("holds", flush=True)
    time.sleep(600)
"""

# As a process that measures, for a moment, without the seconds that torch takes to load.
SHORTLY = """
import sys, time
from fasteners import InterProcessReaderWriterLock
gate = InterProcessReaderWriterLock(sys.argv[1])
gate.acquire_write_lock()
print("holds", flush=True)
time.sleep(1)
"""


@contextmanager
def process(script: str, argument: object) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that has said something."""
    command = [sys.executable, "-c", script, str(argument)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    try:
        assert child.stdout.readline()
        yield child
    finally:
        child.kill()
        child.wait()


def measured_beside_training(teacher: Path, quiet: bool) -> int:
    """How many of six measurements some training step overlapped."""
    measurements = []
    with process(TRAINING, teacher) as child:
        for _ in range(6):
            with measuring(quiet):
                start = time.monotonic()
                time.sleep(0.1)
                measurements.append((start, time.monotonic()))
            time.sleep(0.1)
        time.sleep(0.1)
        child.kill()
        lines = child.communicate()[0].splitlines()
    steps = [tuple(map(float, line.split())) for line in lines if len(line.split()) == 2]
    assert len(steps) > 6
    assert any(start > measurements[-1][1] for start, _ in steps), "training went on afterwards"
    return sum(
        any(start < end and begin < stop for begin, end in steps) for start, stop in measurements
    )


@pytest.mark.slow
def test_a_measurement_never_overlaps_a_training_step(teacher_folder: Path) -> None:
    assert measured_beside_training(teacher_folder, quiet=True) == 0
    assert measured_beside_training(teacher_folder, quiet=False) > 0


@pytest.mark.slow
@pytest.mark.parametrize("held", ["measuring", "computing"])
def test_a_killed_process_holds_nobody_up(held: str) -> None:
    with process(HOLD, held) as child:
        assert child.stdout and child.stdout.readline() == "holds\n"
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        start = time.monotonic()
        with computing(CPU) as let_pass:
            let_pass()
        with measuring():
            pass
        assert time.monotonic() - start < 5


@pytest.mark.slow
def test_whoever_computes_waits_while_another_measures() -> None:
    with process(HOLD, "measuring") as child:
        assert child.stdout and child.stdout.readline() == "holds\n"
        with process(HOLD, "computing") as waits:
            assert waits.stdout
            assert not select.select([waits.stdout], [], [], 1)[0]
            child.kill()
            assert waits.stdout.readline() == "holds\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("held", "told"),
    [("measuring", "one of them measures latency"), ("computing", "--no-latency-quiet does not")],
)
def test_a_long_wait_is_told_once(
    held: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quiet, "ANNOUNCE_SECONDS", 0.2)
    quiet._announce.cache_clear()
    for heard in (1, 0):
        with process(HOLD, held) as child:
            assert child.stdout and child.stdout.readline() == "holds\n"
            threading.Timer(1, child.kill).start()
            with computing(CPU) if held == "measuring" else measuring():
                pass
        out = capsys.readouterr().out
        assert out.count("waiting for other kdnas processes") == out.count(told) == heard
    with computing(CPU):
        time.sleep(0.4)
    assert not capsys.readouterr().out, "nobody waited"


def test_waiting_for_another_is_no_work() -> None:
    lock_folder().mkdir(parents=True, exist_ok=True)
    with computing(CPU) as let_pass, process(SHORTLY, lock_folder() / "gate.lock"):
        start, began = time.perf_counter(), working_seconds()
        let_pass()
        assert time.perf_counter() - start > 0.3
        assert working_seconds() - began < 0.2
        time.sleep(0.1)
        assert working_seconds() - began > 0.1


def test_measuring_in_the_middle_of_a_computation_is_a_mistake() -> None:
    middle = pytest.raises(RuntimeError, match="in the middle")
    with computing(CPU), computing(CPU), middle, measuring():
        pass
    with measuring():
        pass


def test_a_step_pays_microseconds() -> None:
    with computing(CPU) as let_pass:
        start = time.perf_counter()
        for _ in range(1000):
            let_pass()
        assert (time.perf_counter() - start) / 1000 < 200e-6


def test_what_a_report_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert how_measured(True) == ALONE
    assert how_measured(False) == f"{BESIDE} (--no-latency-quiet)"
    (tmp_path / "file").touch()
    monkeypatch.setenv("KDNAS_LOCKS", str(tmp_path / "file" / "folder"))
    assert lock_folder() == tmp_path / "file" / "folder"
    assert how_measured(True).startswith(f"{BESIDE} (no locks in ")
    with computing(CPU) as let_pass, computing(CPU):
        let_pass()
    with measuring():
        pass
