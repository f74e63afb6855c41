"""What of fidelity.json is read, and what is left out with a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kdnas.report.fidelity import fidelity_figure, fidelity_lines
from kdnas.report.fidelity_file import read_fidelity
from kdnas.workflow.fidelity import summarise


def students(finals: list[float]) -> list[dict[str, Any]]:
    """Six students with such final scores."""
    return [
        {
            **{"trial": i, "label": f"{i}x16", "params": 9 - i, "macs": 10 + i, "depth": 2},
            **{"speedup": 1.0 + i, "loss": 0.1 * i, "reward": 0.5 + i, "final": {"0": final}},
        }
        for i, final in enumerate(finals)
    ]


DISTINCT = students([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])


def test_what_kdnas_writes_is_read(tmp_path: Path) -> None:
    assert read_fidelity(tmp_path) == (None, "")
    for one in (DISTINCT, students([0.5] * 6), DISTINCT[:2]):
        result = json.loads(json.dumps(summarise(one, "mcc")))
        (tmp_path / "fidelity.json").write_text(json.dumps(result))
        content, wrong = read_fidelity(tmp_path)
        assert (json.loads(json.dumps(content)), wrong) == (result, "")
        assert fidelity_figure(result).data and fidelity_lines(result, "runs/x")


@pytest.mark.parametrize(
    "change",
    [
        *({"whole": text} for text in ("[1]", "{}", "null", "", "{", '"a"', "3")),
        *({key: wrong} for key in ("students", "statistics") for wrong in ([], {}, None, 1, [1])),
        {"metric": None},
        {"students": [{**DISTINCT[0], "final": {}}]},
        {"students": [{**DISTINCT[0], "final": {"0": "high"}}]},
        {"students": [{**DISTINCT[0], "loss": float("nan")}]},
        {"statistics": {"all": {"score": {"tau": 1}}, "better_half": {}}},
    ],
)
def test_what_it_does_not_write_is_left_out_with_a_word(
    change: dict[str, Any], tmp_path: Path
) -> None:
    text = change.get("whole", json.dumps({**summarise(DISTINCT, "mcc"), **change}))
    (tmp_path / "fidelity.json").write_text(text)
    content, wrong = read_fidelity(tmp_path)
    assert content is None
    assert wrong.startswith(
        "fidelity.json is left out, for it is not as kdnas fidelity writes it ("
    )
    assert "\n" not in wrong


def test_equal_final_scores_are_said_in_place_of_a_table_of_dashes() -> None:
    lines = fidelity_lines(summarise(students([0.0] * 6), "mcc"), "runs/x")
    assert lines[0] == (
        "all students: all 6 final scores are equal (mcc 0.0000): no rank correlation"
    )
    assert not any(" - " in line for line in lines)
