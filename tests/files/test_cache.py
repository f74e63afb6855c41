"""The cache: what is in it, what makes room, and that nobody loses what a process uses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Said

from kdnas.cli.cache import _lines
from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.files import cache
from kdnas.files.cache import (
    age_in_seconds,
    cache_folder,
    check_cache,
    entries,
    limit_in_bytes,
    make_room,
    remove,
    set_limit,
    use,
)
from kdnas.files.locks import file_lock
from kdnas.workflow.preparing.early import check_settings

DAY = 86_400.0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KDNAS_CACHE_LIMIT", raising=False)
    monkeypatch.setattr(cache, "_own", cache._Own(set()))
    yield tmp_path / "cache"


@pytest.fixture
def put(folder: Path) -> Callable[..., Path]:
    """Puts an entry of so many bytes into the cache, last used so many days ago."""

    def make(kind: str, name: str, size: int, days: float) -> Path:
        path = folder / kind / name
        path.mkdir(parents=True)
        (path / "data").write_bytes(b"0" * size)
        (folder / kind / f"{name}.lock").touch()
        os.utime(path, (time.time() - days * DAY,) * 2)
        return path

    return make


def names() -> list[str]:
    return [entry.name for entry in entries()]


def test_entries_with_all_that_belongs_to_them(put: Callable[..., Path], folder: Path) -> None:
    put("teachers", "a1", 1000, 2)
    (folder / "students").mkdir()
    (folder / "students" / "b2.pt").write_bytes(b"0" * 10)
    (folder / "importance").mkdir()
    for name in ("c3.safetensors", ".c3.safetensors.kdnas.json"):
        (folder / "importance" / name).write_bytes(b"0" * 100)
    (folder / "somebody-elses").mkdir()
    found = {entry.name: entry for entry in entries()}
    assert {name: entry.size for name, entry in found.items()} == {"a1": 1000, "b2": 10, "c3": 200}
    assert names()[0] == "a1" and not any(entry.in_use for entry in found.values())


def test_what_was_used_least_recently_makes_room(
    put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("teachers", "old", 1000, 9)
    put("signal", "older", 2000, 30)
    put("students", "new", 1000, 1)
    monkeypatch.setenv("KDNAS_CACHE_LIMIT", "2KB")
    assert [entry.name for entry in make_room()] == ["older"]
    set_limit("none")
    assert make_room() == []
    set_limit("1.5 kb")
    used = use("teachers", "old", "what it is")
    assert names() == ["old"] and used.is_dir()
    set_limit("0.001KB")
    assert make_room() == [] and names() == ["old"]


USER = """
import sys, time
from kdnas.files.cache import use
use("teachers", "a1", "what it is")
print("uses", flush=True)
sys.stdin.readline()
"""


def test_nothing_is_removed_under_a_process_that_runs(put: Callable[..., Path]) -> None:
    put("teachers", "a1", 1000, 9)
    put("signal", "b2", 1000, 1)
    with subprocess.Popen(
        [sys.executable, "-c", USER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdin
        assert process.stdout.readline() == "uses\n"
        removed, kept = remove(lambda _: True)
        assert [e.name for e in removed] == ["b2"] and [e.name for e in kept] == ["a1"]
        assert [entry.in_use for entry in entries()] == [True]
        process.kill()
    assert [entry.in_use for entry in entries()] == [False]
    with file_lock(entries()[0].lock, "another process makes it"):
        assert remove(lambda _: True)[0] == []
    assert [entry.name for entry in remove(lambda _: True)[0]] == ["a1"] and names() == []


@pytest.mark.parametrize("text", ["", "20", "GB", "-1GB", "1e9GB", "20 parsecs", "\x1b"])
def test_limits_and_ages_that_are_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if text:
        monkeypatch.setenv("KDNAS_CACHE_LIMIT", text)
        with pytest.raises(KdnasError, match="invalid KDNAS_CACHE_LIMIT '.*expected a size such"):
            check_settings(Settings())
        with pytest.raises(KdnasError, match="invalid --cache-limit '.*expected a size such as"):
            check_settings(Settings(cache_limit=text))
    with pytest.raises(KdnasError, match="invalid --older-than '.*expected an age such as 12h"):
        age_in_seconds(text)


def test_limits_and_ages() -> None:
    assert limit_in_bytes() == 20 * 10**9
    assert limit_in_bytes("1.5TB") == 1.5 * 10**12 and limit_in_bytes("None") is None
    assert (age_in_seconds("30d"), age_in_seconds("1.5H")) == (30 * DAY, 5400)


def test_places_where_no_cache_can_be(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.touch()
    with pytest.raises(KdnasError, match="cannot write to .*cache.*; set KDNAS_CACHE to a folder"):
        check_cache()
    monkeypatch.delenv("KDNAS_CACHE")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.expanduser", lambda _: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(KdnasError, match="no home folder for the cache; set KDNAS_CACHE"):
        cache_folder()


def test_the_command(put: Callable[..., Path], command: Said) -> None:
    def told(*words: object) -> tuple[int, str]:
        before = len(command.all)
        code, _ = command("cache", *words)
        return code, command.all[before:]

    assert told("list") == (0, f"{cache_folder()}: 0 entries, 0 kB of at most 20.0 GB\n")
    put("teachers", "a1", 2_500_000, 9)
    put("signal", "b2", 1000, 1)
    put("signal", "c3", 1000, 40)
    said = told("list")[1]
    assert "3 entries, 2.5 MB of at most" in said and "2.5 MB  teachers/a1\n" in said
    assert "signal: outputs of teachers for the training data; 2, 2 kB" in said
    assert (
        "invalid --kind 'signals'; did you mean 'signal'?" in told("clear", "--kind", "signals")[1]
    )
    assert told("clear") == (
        2,
        "kdnas: nothing chosen: give --all, --kind or --older-than\n",
    )
    assert "give --yes" in told("clear", "--all")[1] and len(entries()) == 3
    code, said = told("clear", "--kind", "signal", "--older-than", "30d", "--yes", "--json")
    assert code == 0 and [each["name"] for each in json.loads(said)["removed"]] == ["c3"]
    use("signal", "b2", "what it is")
    assert told("clear", "--all", "--yes") == (
        0,
        "removed 1 entry, 2.5 MB\nkept 1 entry, in use by a running process\n",
    )
    assert names() == ["b2"]


def test_an_entry_says_what_it_is(put: Callable[..., Path]) -> None:
    path = put("teachers", "old", 10, 1)
    assert [entry.about for entry in entries()] == [""]
    use("teachers", "old", "bert-base,\n 3 epochs")
    (entry,) = entries()
    assert entry.about == "bert-base, 3 epochs"
    lines = list(_lines([entry]))
    assert lines[1].endswith("teachers/old  bert-base, 3 epochs  in use")
    use("teachers", "old", "another word for it")  # it stays as it was made
    assert entries()[0].about == "bert-base, 3 epochs"
    cache._unmark(os.getpid())
    remove(lambda _: True)
    assert not path.exists() and entries() == []
