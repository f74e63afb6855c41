"""docs/export.md shows the code that exports of students that write have; these run it."""

from __future__ import annotations

import re
from pathlib import Path

from kdnas.measure.onnx_graphs import onnx_files
from kdnas.tasks import TASK_TYPES

PAGE = Path(__file__).parents[2] / "docs" / "export.md"


def test_the_code_is_that_of_an_export() -> None:
    kind = TASK_TYPES["sequence-to-sequence"]
    load = kind.onnx_load.format(format="onnx", longest=512)
    wanted = [load, "", f"texts = {kind.onnx_texts}", kind.onnx_rows]
    wanted += [kind.onnx_run.format(), kind.onnx_answer(None)]
    [code] = re.findall(r"```python\n(.+?)\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code == "\n".join(wanted)


def test_the_files_are_those_of_an_export() -> None:
    named = re.findall(
        r"^\| `onnx/(\w+\.onnx)`[,| ]", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    files = [file.name for file in onnx_files(Path("model.onnx"), writes=True)]
    assert named == ["model.onnx", "model_int8.onnx", *files]
