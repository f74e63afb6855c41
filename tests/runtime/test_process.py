"""Which processes are known by name, and when they count as dead."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from kdnas.runtime import process
from kdnas.runtime.process import is_here, lives, process_name


def test_this_process_is_here_and_lives() -> None:
    assert is_here(process_name()) and lives(process_name())


def test_a_container_of_the_same_host_and_boot_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    name = process_name()
    monkeypatch.setattr(process, "_pid_namespace", lambda: 7)
    assert not is_here(name) and is_here(process_name())


def test_another_boot_of_the_machine_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    name = process_name()
    monkeypatch.setattr(process, "_boot", lambda: "another")
    assert not is_here(name)


def test_a_process_that_has_ended_or_whose_number_is_used_again_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        born = round(100 * (psutil.Process(child.pid).create_time() - psutil.boot_time()))
        place = process_name().rsplit(":", 2)[0]
        assert lives(f"{place}:{child.pid}:{born}")
        assert not lives(f"{place}:{child.pid}:{born - 10_000}")
        child.kill()
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            pass
        assert not lives(f"{place}:{child.pid}:{born}")
    assert not lives(f"{place}:{child.pid}:{born}")


def test_a_clock_that_is_set_kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    name = process_name()
    before = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: before + 3600)
    assert lives(name)
