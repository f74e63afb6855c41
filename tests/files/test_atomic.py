from __future__ import annotations

import os
from pathlib import Path

from kdnas.files.atomic import replace_file, replace_folder, write_text

GONE = 2**22 + 1  # above the largest process id that Linux gives


def test_what_a_killed_process_began_is_swept_away(tmp_path: Path) -> None:
    left = [tmp_path / f".a.{GONE}.partial", tmp_path / f".b.{GONE}.partial"]
    left[0].mkdir()
    (left[0] / "half").write_text("x")
    left[1].write_text("x")
    other = tmp_path / f".a.{os.getppid()}.partial"
    other.mkdir()
    with replace_folder(tmp_path / "a") as partial:
        (partial / "whole").write_text("y")
    with replace_file(tmp_path / "b") as file:
        write_text(file, "y")
    assert not any(path.exists() for path in left)
    assert other.exists() and (tmp_path / "a" / "whole").exists()
