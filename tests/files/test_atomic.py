from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kdnas.errors import KdnasError
from kdnas.files import atomic
from kdnas.files.artifact import Artifact, damage
from kdnas.files.atomic import (
    make_file,
    make_writable,
    read_json,
    replace_file,
    replace_folder,
    restore,
    write_text,
)
from kdnas.files.lines import json_lines
from kdnas.runtime import process
from kdnas.runtime.process import process_name

# Writes a second version of a folder and is killed between the two renames.
KILLED = """
import os, sys
from pathlib import Path
from kdnas.files.atomic import replace_folder

rename = Path.rename
def rename_once(self, target):
    rename(self, target)
    os._exit(9)
Path.rename = rename_once
with replace_folder(Path(sys.argv[1])) as partial:
    (partial / "content").write_text("second")
"""


def name_of(pid: int) -> str:
    return f"{process_name().rsplit(':', 2)[0]}:{pid}:5"


@pytest.fixture
def begun(tmp_path: Path) -> Callable[..., Path]:
    """Makes what a process began to write at TMP/a."""

    def make(owner: str, kind: str = "partial", folder: bool = True) -> Path:
        path = tmp_path / f".a.{owner.replace(':', '~')}.{kind}"
        file = path / "half" if folder else path
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")
        return path

    return make


def test_what_dead_processes_of_this_machine_began_is_swept(
    tmp_path: Path, begun: Callable[..., Path]
) -> None:
    dead = name_of(2**22 + 1)  # above the largest process id that Linux gives
    left = [begun(dead), begun(name_of(os.getpid())), begun(name_of(2**22 + 2), folder=False)]
    parent = process._start(os.getppid())
    kept = [
        begun(f"{process_name().rsplit(':', 2)[0]}:{os.getppid()}:{parent}"),
        begun(f"other-{dead}"),
    ]
    with replace_folder(tmp_path / "a") as partial:
        (partial / "whole").write_text("y")
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept) and (tmp_path / "a" / "whole").exists()
    week = time.time() - 8 * 24 * 3600
    os.utime(kept[1], (week, week))
    with replace_folder(tmp_path / "a"):
        pass
    assert [path.exists() for path in kept] == [True, False]


def test_a_container_with_the_same_process_ids_sweeps_nothing_of_ours(
    tmp_path: Path, begun: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = begun(name_of(2**22 + 1))
    monkeypatch.setattr(process, "_pid_namespace", lambda: 7)
    with replace_file(tmp_path / "a") as file:
        write_text(file, "y")
    assert ours.exists()


def test_a_crash_between_two_folders_loses_neither(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with replace_folder(folder) as partial:
        (partial / "content").write_text("first")
    paths = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-c", KILLED, str(folder)]
    assert (
        subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": paths}).returncode
        == 9
    )
    assert not folder.exists()
    restore(folder)
    assert (folder / "content").read_text() == "first"
    with replace_folder(folder) as partial:
        (partial / "content").write_text("third")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_reader_finds_an_artifact_whose_replacement_was_cut_off(tmp_path: Path) -> None:
    def save(value: str, folder: Path) -> None:
        (folder / "value").write_text(value)

    made = Artifact(tmp_path / "a", {"k": 1}, lambda f: (f / "value").read_text(), save)
    made.write("first")
    made.path.rename(atomic._beside(made.path, atomic.OLD))
    assert not made.done()  # this process lives, and may be about to finish
    dead = tmp_path / f".a.{name_of(2**22 + 1).replace(':', '~')}.old"
    atomic._beside(made.path, atomic.OLD).rename(dead)
    assert made.done() and made.read() == "first"


def test_an_interrupted_swap_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rename = tmp_path / "a", Path.rename
    write_text(folder / "content", "first")

    def interrupted(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), replace_folder(folder) as partial:
        (partial / "content").write_text("second")
    assert (folder / "content").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_have_the_mode_of_others_whoever_makes_them(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        for path, written in (
            (tmp_path / "a.safetensors", replace_file(tmp_path / "a.safetensors")),
            (tmp_path / "b.safetensors", make_file(tmp_path / "b.safetensors")),
        ):
            with written as partial:
                save_file({"x": torch.zeros(2)}, partial)  # for their owner alone
            assert stat.S_IMODE(path.stat().st_mode) == mode
        write_text(tmp_path / "password", "x", private=True)
        assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_what_is_no_json_is_none(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "{half")
    assert read_json(tmp_path / "a") is None and read_json(tmp_path / "b") is None


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "\udcff"])
def test_what_is_no_json_is_nothing(tmp_path: Path, content: str) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert read_json(file) is None
    assert list(json_lines(file)) == []


def test_a_new_folder_has_no_control_characters(tmp_path: Path) -> None:
    with pytest.raises(KdnasError) as caught:
        make_writable(tmp_path / "\x1b[1m" / "x")
    assert str(caught.value).startswith("invalid folder name ") and not [*tmp_path.iterdir()]
    assert "\x1b" not in str(caught.value)
    make_writable(tmp_path / "größer 1")
    assert (tmp_path / "größer 1").is_dir()


def test_how_a_model_writes_may_be_edited_in_a_checkpoint(tmp_path: Path) -> None:
    def save(names: dict[str, str], partial: Path) -> None:
        for name, text in names.items():
            (partial / name).write_text(text)

    folder, key, name = tmp_path / "student", {"trial": 1}, "generation_config.json"
    made = Artifact(folder, key, lambda path: (path / name).read_text(), save)
    made.write({name: '{"num_beams": 3}', "config.json": "{}"})
    (folder / name).write_text('{"num_beams": 5}')
    assert made.read() == '{"num_beams": 5}'
    (folder / name).write_text('{"num_be')  # cut short
    assert damage(folder) == f"{folder / name} is damaged: size or checksum differ from kdnas.json"
    (folder / name).unlink()
    assert damage(folder) == f"{folder / name} is missing"
    made.write({name: '{"num_beams": 3}', "config.json": "{}"})
    (folder / "config.json").write_text('{"a": 1}')
    assert not made.done() and "config.json is damaged" in str(damage(folder))
