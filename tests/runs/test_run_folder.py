"""A run folder may be moved: a run lies where it is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from kdnas.runs.run_folder import Run


def test_a_moved_run_has_its_new_place(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make_run().folder
    (tmp_path / "else where").mkdir()
    new = old.rename(tmp_path / "else where" / "run")
    written = (new / "config.yaml").read_bytes()
    monkeypatch.chdir(new.parent)
    run = Run.open(Path("run"))
    assert run.settings.out == new and str(old) not in str(run.settings)
    assert (new / "config.yaml").read_bytes() == written  # a run that is read stays as it is
    run.save()
    assert yaml.safe_load((new / "config.yaml").read_text())["out"] == str(new)
    assert Run.create(run.settings).folder == new and not old.exists()
    assert Run.open(new, out=old).settings.out == new
