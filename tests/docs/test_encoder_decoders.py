"""docs/encoder-decoders.md names every family, and its code runs."""

from __future__ import annotations

import re
from pathlib import Path

from support.tiny_pairs import tiny_pair

from kdnas.space import ENCODER_DECODERS

PAGE = Path(__file__).parents[2] / "docs" / "encoder-decoders.md"


def test_the_table_has_every_family() -> None:
    rows = re.findall(r"^\| (`.+?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(.+?)`", row)) == sorted(
        ENCODER_DECODERS
    )


def test_the_code_runs() -> None:
    space, costs = re.findall(r"```python\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found: dict[str, object] = {"student": tiny_pair("bart"), "teacher": tiny_pair("bart")}
    exec(space, found)
    costs = costs.replace("length=128", "length=8, quiet=False, repeats=2")
    exec(costs.replace("128", "8"), found)
