"""What benchmarks/search_worth.py makes of its cells, from scores made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kdnas.config.recipe_file import built_in_names, find_recipe

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tasks, two seeds, one speed; the search is 0.02 and 0.04 better than the pick."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    rows: list[dict[str, Any]] = []
    for task, more in (("mrpc", 0.02), ("stsb", 0.04)):
        for seed in (0, 1):
            steps = tmp_path / f"seed-{seed}" / task / "steps"
            steps.mkdir(parents=True)
            scores = json.dumps({"accuracy": 0.9, "f1": 0.1})
            (steps / "evaluate-teacher.json").write_text(scores)
            for method, score, fast in (
                ("search", 0.8 + more + seed / 100, 4.1),
                ("hand-picked", 0.8 + seed / 50, 4.2),
                ("tpe", 0.85, 5.0),  # too fast to be compared
            ):
                key = {"task": task, "variant": f"4x {method}", "seed": seed, "speed": 4}
                made = {"scores": {"accuracy": score}, "speedup": fast, "tried": 3}
                rows.append({**key, "method": method, **made, "seconds": 60.0 + seed})
    rows.append({**rows[0], "seed": 2, "scores": {}, "speedup": None})  # missed its speed
    for seed in (0, 1):
        own = [json.dumps(row) for row in rows if row["seed"] % 2 == seed]
        (tmp_path / f"seed-{seed}" / "results.jsonl").write_text("\n".join(own))
    return tmp_path


def test_gains_are_over_equally_fast_students_of_the_same_cell(cells: Path) -> None:
    from worth_figures import entry, results, table

    found = entry(results(cells))
    # 0.02, 0.01, 0.04, 0.03
    assert found["gain_over_hand_picked"] == pytest.approx(0.025)
    assert found["worst_task_gain"] == pytest.approx(0.015)
    assert 0.02 < found["p_value"] < 0.05
    assert found["against"]["tpe"] == {"pairs": 0} and found["against"]["hand-picked"]["pairs"] == 4
    assert found["retention"] == {"4x": pytest.approx(0.835 / 0.9, abs=1e-4)}
    assert found["seconds"]["search"] == 60.5
    assert (found["tasks"], found["seeds"]) == (["mrpc", "stsb"], [0, 1])
    [first, *_] = table(results(cells))[2:]
    assert first.startswith("| mrpc | 4x | search | 0.8250 ± 0.0071 | 4.10x | 3 |")


def test_the_plan_names_recipes_that_exist_and_a_fixed_one_for_each_task(cells: Path) -> None:
    from search_worth import planned

    plan = yaml.safe_load((BENCHMARKS / "search_worth.yaml").read_text())
    assert set(plan["recipes"]) | set(plan["fixed"].values()) <= set(built_in_names())
    assert not any(find_recipe(name).needs_corpus for name in plan["recipes"])
    assert set(plan["fixed"]) == set(plan["tasks"])
    whole = planned(plan)
    assert [v["name"] for v in whole["variants"][:2]] == ["2x search", "2x hand-picked"]
    assert len(whole["variants"]) == 15 and whole["stages"][0][0]["data"] == "transfer"
