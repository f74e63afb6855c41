"""benchmarks/learn_from.py on two small tables."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two teachers, of which the second is twice as wide; wide students are the best."""
    for folder in (BENCHMARKS, BENCHMARKS / "tabular"):
        monkeypatch.syspath_prepend(str(folder))
    files = []
    for name, scale in (("narrow", 1), ("wide", 2)):
        rows = [
            {
                **{"num_hidden_layers": layers, "num_attention_heads": 2, "hidden_act": "gelu"},
                **{"hidden_size": hidden * scale, "intermediate_size": 32 * scale},
                **{"loss": 0.2 / layers + 4 / hidden, "speedup": 30 / (layers * hidden) ** 0.1},
            }
            for layers, hidden in itertools.product((1, 2, 3, 4), (8, 12, 16, 20, 24))
        ]
        files.append(tmp_path / f"{name}.csv")
        pd.DataFrame(rows).to_csv(files[-1], index=False)
    return files


@pytest.mark.slow
def test_searches_learn_from_the_other_table_and_are_not_repeated(
    tables: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import learn_from

    def command(seeds: int) -> list[dict[str, Any]]:
        arguments = f"--trials 6 --earlier 15 --seeds {seeds} --objectives reward-0.06 speedup4"
        found = ["--tables", *map(str, tables), "--out", str(tmp_path), *arguments.split()]
        monkeypatch.setattr(sys, "argv", ["learn_from.py", *found])
        learn_from.main()
        file = tmp_path / "searches.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()]

    first = command(1)
    assert len(first) == 2 * 2 * 2 * 2  # tables, objectives, samplers, with and without
    both = command(3)
    assert both[: len(first)] == first and len(both) == 3 * len(first)
    reached = {
        learns: [o["reached"] for o in both if o["learns"] is learns] for learns in (False, True)
    }
    assert sum(reached[True]) < sum(reached[False])


def test_rows_pair_the_same_search_with_and_without(tables: list[Path]) -> None:
    import learn_from

    searches = [
        {"table": table, "seed": seed, "learns": learns, "objective": "pareto", "sampler": "lstm"}
        | {"trials": 9, "earlier": 9, "reached": 8 - 3 * learns - seed, "after": 2.0 - learns}
        for table, seed, learns in itertools.product("ab", range(3), (False, True))
    ]
    args: Any = type("Args", (), {"trials": 9, "earlier": 9})
    args.objectives, args.samplers = ["pareto"], ["lstm"]
    every, first, _ = learn_from.figures(searches, ["a", "b"], args)
    assert (every["table"], every["searches"], first["searches"]) == ("all", 6, 3)
    assert (every["without"], every["with"]) == (7, 4) and every["p"] < 0.05
    assert every["better_after_10"] == {"without": 2.0, "with": 1.0}
    told = learn_from.lines([every])[-1]
    assert told == f"| pareto | lstm | all | 6 | 7 | 4 | {every['p']} | 2.0 | 1.0 |"


def test_a_table_without_a_student_fast_enough_is_left_out_of_that_objective(
    tables: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import learn_from

    slow = pd.read_csv(tables[0])
    slow["speedup"] = 3.5
    slow.to_csv(tables[0], index=False)
    searched = []

    def search(table: Any, *given: Any) -> dict[str, Any]:
        searched.append((table.file.stem, given[1]))
        return {"reached": 1, "after": 0.0}

    monkeypatch.setattr(learn_from, "_search", search)
    arguments = "--seeds 1 --samplers tpe --objectives reward-0.06 speedup4"
    found = ["--tables", *map(str, tables), "--out", str(tmp_path), *arguments.split()]
    monkeypatch.setattr(sys, "argv", ["learn_from.py", *found])
    learn_from.main()
    out, err = capsys.readouterr()
    assert {*searched} == {("narrow", "reward-0.06"), ("wide", "reward-0.06"), ("wide", "speedup4")}
    assert "speedup4 is left out on narrow: the fastest student is 3.50 times as fast" in out + err
