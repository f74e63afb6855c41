from __future__ import annotations

from pathlib import Path

import pytest

from kdnas.runtime import cores
from kdnas.runtime.cores import resolve_threads, usable_cores


def test_threads_are_no_more_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 4)
    assert resolve_threads(None) == (None, None)
    assert resolve_threads(3) == (3, None)
    assert resolve_threads(64) == (
        4,
        "--threads 64: this machine has 4 cores; computing with those",
    )
    monkeypatch.setattr(cores, "usable_cores", lambda: 1)
    assert resolve_threads(2) == (1, "--threads 2: this machine has 1 core; computing with it")


@pytest.mark.parametrize(
    ("busy", "threads"), [([0, 0, 3, 0], 4), ([90, 0, 60, 0], 2), ([100] * 4, 1), ([100] * 9, 1)]
)
def test_auto_leaves_busy_cores_alone(
    busy: list[float], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 4)
    monkeypatch.setattr("psutil.cpu_percent", lambda **_: busy)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(9)), raising=False)
    found, said = resolve_threads("auto")
    assert found == threads
    assert said == (
        None
        if threads == 4
        else f"{4 - threads} of 4 cores have other work: computing with {threads}"
    )


def test_a_container_with_a_quota_has_fewer_cores(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    file = cores.Path(str(tmp_path)) / "cpu.max"
    monkeypatch.setattr(cores, "QUOTA", file)
    for text, expected in {"150000 100000": 2, "max 100000": 64, "1000 100000": 1}.items():
        file.write_text(text)
        assert usable_cores() == expected


def test_in_a_container_cores_that_nobody_uses_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr("psutil.cpu_percent", lambda **_: [100] * 5 + [0] * 3)
    assert cores.free_cores() == 2
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 7}, raising=False)
    assert cores.free_cores() == 1


def test_a_container_has_its_own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "CGROUP", tmp_path)
    whole = cores.free_memory()
    assert whole > 0
    (tmp_path / "memory.max").write_text("max")
    assert cores.free_memory() > 0.5 * whole
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.stat").write_text("anon 400\nfile 500\n")
    assert cores.free_memory() == 600
