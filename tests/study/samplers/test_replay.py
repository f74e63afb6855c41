"""Replays on a table: what counts as arrived, and a whole command on a small one."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kdnas.scoring.reward import reward
from kdnas.space.families import FIELDS

RECIPES = {"states": 0.0, "logits": 0.1}
SCRIPTS = Path(__file__).parents[3] / "benchmarks" / "tabular"


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    rows = [
        {
            "num_hidden_layers": layers,
            "num_attention_heads": 2,
            "hidden_size": hidden,
            "intermediate_size": 32,
            "hidden_act": act,
            "loss": 0.4 / layers + 4 / hidden,
            "speedup": 100 / (layers * hidden),
        }
        for layers, hidden, act in itertools.product((1, 2, 3), (8, 16, 24), ("gelu", "relu"))
        if (layers, hidden) != (3, 16)
    ]
    file = tmp_path / "table.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    return file


def test_the_rows_are_the_whole_space(table: Path) -> None:
    from tables import Table

    space = Table(table)
    assert len(space.architectures) == len(space.rows) == 16
    params: dict[str, Any] = dict(space.architectures[0].params)
    assert space.is_valid(params)
    assert not space.is_valid({**params, "num_hidden_layers": 3, "hidden_size": 16})
    first = space.frame.iloc[0]
    expected = reward(first["loss"], 1 / first["speedup"], 1.0, alpha=-0.3)
    assert space.rewards(-0.3)[0] == pytest.approx(expected)


def test_recipes_are_a_dimension_where_a_table_has_several(table: Path) -> None:
    from tables import Table

    frame = pd.read_csv(table).head(3)
    joint = [frame.assign(recipe=name, loss=frame["loss"] + more) for name, more in RECIPES.items()]
    pd.concat([*joint[:1], joint[1].head(2)]).to_csv(table, index=False)
    space = Table(table)
    assert len(space.candidates) == len(space.rows) == 5 and len(space.architectures) == 3
    assert space.distributions["recipe"].choices == ("logits", "states")  # type: ignore[attr-defined]
    params = space.params(space.candidates[0])
    assert space.is_valid(params) and space.candidate(params) == space.candidates[0]
    left_out = {**frame.loc[2, list(FIELDS)].to_dict(), "recipe": "logits"}
    assert not space.is_valid(left_out) and space.is_valid({**left_out, "recipe": "states"})


def test_courses_and_arrivals(table: Path) -> None:
    from summary import arrival
    from tables import OBJECTIVES, Table

    space = Table(table)
    objective = OBJECTIVES["reward-0.06"](space)
    order = np.argsort(-objective.values[:, 0], kind="stable")
    course = objective.course([order[8], order[12], order[0]])
    # Students come in pairs that differ by their activation alone.
    assert course == pytest.approx([50.0, 50.0, 0.0])
    assert arrival(course, objective.goal) == 3
    assert arrival(course[:2], objective.goal) == 3
    limited = OBJECTIVES["speedup4"](space)
    assert [limited.feasible(row) for row in range(16)] == (1 / space.costs >= 4).tolist()
    pareto = OBJECTIVES["pareto"](space)
    assert pareto.course(range(16))[-1] == pytest.approx(0.0)


@pytest.mark.slow
def test_the_command_goes_on_where_it_was_stopped(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import replay

    out, page = tmp_path / "out.json", tmp_path / "out.html"

    def command(seeds: int) -> list[dict[str, Any]]:
        arguments = f"--table {table} --samplers random lstm --trials 6 --seeds {seeds}"
        monkeypatch.setattr(sys, "argv", ["replay.py", *arguments.split()])
        sys.argv += ["--objectives", "speedup4", "pareto", "--json", str(out), "--html", str(page)]
        replay.main()
        return replay.read(out.with_suffix(".jsonl"))

    first = command(1)
    assert len(first) == 4
    both = command(2)
    assert both[:4] == first
    assert len(both) == 8
    figures = json.loads(out.read_text())["objectives"]["speedup4"]["samplers"]
    assert figures["lstm"]["seeds"] == 2
    assert figures["random"]["ratio"] == 1.0
    assert "infeasible" in figures["lstm"]
    assert page.read_text().count("hypervolume missing") == 1
