"""What benchmarks/search_worth.py makes of its cells, from scores made by hand."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from transformers import AutoConfig

from kdnas.config import validated
from kdnas.config.recipe_file import built_in_names, find_recipe
from kdnas.errors import KdnasError, MissedLimitError
from kdnas.files.atomic import write_json
from kdnas.runs.run_folder import Run
from kdnas.space import Architecture, SearchSpace
from kdnas.students import empty_student
from kdnas.tasks import load_spec
from kdnas.tasks.defaults import with_type_defaults
from kdnas.tasks.types import TASK_TYPES

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


def test_the_first_table_of_the_results_is_of_all_published_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from worth_figures import published

    docs = BENCHMARKS.parent / "docs"
    found = json.loads((docs / "results.json").read_text(encoding="utf-8"))["search-worth"]
    page = (docs / "results.md").read_text(encoding="utf-8")
    first = page[page.index("|") :].split("\n\n")[0]
    assert first.splitlines() == published(found)


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


def test_a_search_adds_its_pairs_to_those_that_are_published(
    cells: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import search_worth
    import worth_figures

    kind, file = worth_figures.machine_kind(), cells / "found.json"
    rest = {"search": 0.7, "hand_picked": 0.6, "speedups": [4.0, 4.1]}
    known = [
        {"task": "mrpc", "speed": 4, "seed": 0, "machine": kind, **rest},
        {"task": "mrpc", "speed": 4, "seed": 0, "machine": "another", **rest},
        {"task": "tickets", "speed": 3, "seed": 0, "machine": kind, **rest},
    ]
    before = {"pairs": known, "retention": {"4x": 0.5, "3x": 0.75}, "random_search": [1]}
    file.write_text(json.dumps({"search-worth": before, "kills": {}}))

    def command(*words: str) -> dict[str, Any]:
        monkeypatch.setattr(search_worth, "problems", lambda *_: [])
        monkeypatch.setattr(search_worth, "run_plan", lambda *_: None)
        places = ["--data-dir", str(cells), "--out", str(cells), "--json", str(file)]
        monkeypatch.setattr("sys.argv", ["search_worth.py", *places, *words])
        search_worth.main()
        capsys.readouterr()
        monkeypatch.setattr("sys.argv", ["worth_figures.py", str(file)])
        worth_figures.main()
        return dict(json.loads(file.read_text()))

    found = command()
    entry = found["search-worth"]
    assert found["kills"] == {} and entry["random_search"] == [1]
    assert known[0] not in entry["pairs"] and [*known[1:]] == entry["pairs"][1:3]
    assert entry["pairs"][0] == {
        **{"task": "mrpc", "speed": 4, "seed": 0, "search": 0.82, "hand_picked": 0.8},
        **{"speedups": [4.1, 4.2], "teacher": 0.9, "machine": kind},
    }
    # 0.02, 0.01, 0.04, 0.03 and twice 0.1
    assert entry["gain_over_hand_picked"] == pytest.approx(0.05)
    assert entry["counted_pairs"] == 6 and entry["retention"] == {"4x": 0.5, "3x": 0.75}
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head.endswith("| p | at 3x | at 4x |")
    assert rows[0].startswith("| MRPC | 3 | 3 |") and rows[2].startswith("| tickets | 1 | 1 |")
    assert rows[-3:] == [
        "| **kept of the teacher** | | | | | **75.0%** | **50.0%** |",
        "| goal | | | | | - | 98.5% |",
        "| | | | | | - | **missed** |",
    ]
    assert command()["search-worth"] == entry
    file.write_text("{}")
    # (0.82 + 0.83 + 0.84 + 0.85) / 4 of 0.9
    assert command()["search-worth"]["retention"] == {"4x": pytest.approx(0.835 / 0.9, abs=1e-4)}


def test_a_whole_speed_has_the_name_that_it_has_in_a_plan(
    cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import search_worth

    seen = list[str]()
    monkeypatch.setattr(search_worth, "problems", lambda *_: [])
    monkeypatch.setattr(
        search_worth, "run_plan", lambda plan, *_: seen.extend(v["name"] for v in plan["variants"])
    )
    words = ["--data-dir", str(cells), "--out", str(cells / "new"), "--seeds", "1"]
    words += ["--speeds", "2.0", "2.5", "--methods", "search"]
    monkeypatch.setattr("sys.argv", ["search_worth.py", *words])
    search_worth.main()
    assert seen == ["2x search", "2.5x search"]


def test_the_plan_names_recipes_that_exist_and_a_fixed_one_for_each_task(cells: Path) -> None:
    from search_worth import planned

    plan = yaml.safe_load((BENCHMARKS / "search_worth.yaml").read_text())
    assert set(plan["recipes"]) | set(plan["fixed"].values()) <= set(built_in_names())
    assert not any(find_recipe(name).needs_corpus for name in plan["recipes"])
    assert set(plan["fixed"]) == set(plan["tasks"])
    whole = planned(plan)
    assert [v["name"] for v in whole["variants"][:2]] == ["2x search", "2x hand-picked"]
    assert len(whole["variants"]) == 15 and whole["stages"][0][0]["data"] == "transfer"


def test_searches_that_missed_their_speed_are_counted(cells: Path) -> None:
    from worth_figures import entry, results, table

    frame = results(cells)
    assert entry(frame)["missed"] == {"search": 1, "hand-picked": 0, "tpe": 0}
    [search, picked, *_] = table(frame)[2:]
    assert search.endswith("| 60 | 1 |") and picked.endswith("| 60 | 0 |")
    alone = frame[frame.missed]
    assert table(alone)[2:] == ["| mrpc | 4x | search | - | - | - | - | 1 |"]
    assert entry(alone)["missed"] == {"search": 1} and entry(alone)["tasks"] == []


def test_nothing_is_kept_of_a_teacher_that_scores_nothing(cells: Path) -> None:
    from worth_figures import entry, kept_of, results

    frame = results(cells)
    frame.loc[frame.task == "mrpc", "teacher"] = 0.0
    assert kept_of(frame[frame.task == "mrpc"]).isna().all()
    own = frame[(frame.method == "search") & (frame.task == "stsb")]
    kept = entry(frame)["retention"]["4x"]
    assert kept == round(float((own.score / own.teacher).mean()), 4)
    frame["teacher"] = 0.0
    assert entry(frame)["retention"] == {}


def test_no_cell_at_all_has_a_table_and_an_entry(cells: Path) -> None:
    from worth_figures import entry, results, table

    frame = results(cells / "nowhere")
    assert len(table(frame)) == 2
    found = entry(frame)
    assert found["gain_over_hand_picked"] is None and found["missed"] == found["retention"] == {}


def test_beside_a_search_that_missed_a_person_picks_for_the_speed_asked(
    cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import search_worth
    from search_worth import Made, cell

    def missed(*_: Any, **__: Any) -> Any:
        raise MissedLimitError("none is so fast")

    def by_hand(_: Any, __: Any, shape: Architecture, *___: Any) -> Made:
        return Made({"accuracy": 0.8}, {"accuracy": 0.8}, shape.params, "default", 1.0, 1)

    def speedups(_: Any, shapes: list[Architecture]) -> list[float]:
        return [100 / shape.hidden_size for shape in shapes]

    monkeypatch.setattr(search_worth, "search", missed)
    monkeypatch.setattr(search_worth, "by_hand", by_hand)
    monkeypatch.setattr(search_worth, "speedups", speedups)
    teacher = Architecture(4, 4, 96, 192, "gelu")
    run = SimpleNamespace(folder=cells / "seed-5" / "mrpc")
    pipeline: Any = SimpleNamespace(space=SearchSpace(teacher, {}), run=run)
    args = argparse.Namespace(out=cells / "seed-5", data_dir=cells, corpus=None, threads=1)
    plan = {"tasks": {"mrpc": {}}, "recipes": ["default"], "budget": "1m"}
    key = {"task": "mrpc", "variant": "4x search", "seed": 5}
    own = cell(args, pipeline, plan, {"name": "4x search", "speed": 4, "method": "search"}, 5)
    assert own["missed"] and own["scores"] == {}
    args.out.mkdir(exist_ok=True)
    (args.out / "results.jsonl").write_text(json.dumps(key | own))
    picked = {"name": "4x hand-picked", "speed": 4, "method": "hand-picked"}
    row = cell(args, pipeline, plan, picked, 5)
    assert row["scores"] and row["shape"]["hidden_size"] == 24
    assert row["speedup"] == pytest.approx(4, abs=0.2) and "searchs_speedup" not in row


def test_a_missed_search_has_the_time_before_a_kill_and_the_students_that_it_tried(
    cells: Path, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    import search_worth

    args = argparse.Namespace(out=cells / "seed-5", data_dir=cells, corpus=None, threads=1)
    plan = {"tasks": {"mrpc": {}}, "recipes": ["default"], "budget": "1m"}
    pipeline: Any = SimpleNamespace(run=SimpleNamespace(folder=args.out / "mrpc"))
    out = args.out / "searches" / "mrpc" / "4x-search-5"

    def missed(**_: Any) -> Any:
        make_run(out=out).log("start")
        raise MissedLimitError("none is so fast")

    def searched() -> search_worth.Made:
        variant = {"name": "4x search", "speed": 4, "method": "search"}
        return search_worth.searched(args, pipeline, plan, variant, 5)

    scored = {out: [1, 2, 3]}
    monkeypatch.setattr(search_worth, "load_run", lambda at: SimpleNamespace(scored=scored[at]))
    monkeypatch.setattr(search_worth, "search", missed)
    afresh = searched()
    assert afresh.tried == 3 and afresh.seconds < 60
    write_json(out / "steps" / "clock.json", {"seconds": 600.0})
    assert 600 < searched().seconds < 660


def test_a_person_trains_by_the_recipe_of_a_search(cells: Path) -> None:
    from quality import with_changes
    from search_worth import recipe_settings

    spec = load_spec("mrpc")
    given = validated({"task": "mrpc", "transfer_rows": 500, "task_epochs": 2})
    for name in ("default", "transfer", "pkd"):
        recipe = find_recipe(name)
        own = {"task": "mrpc", "transfer_rows": 500}
        own |= recipe.settings | {"stages": recipe.stages} if recipe.stages else {"task_epochs": 2}
        searchs = with_type_defaults(validated({**own, "transfer_rows": 500}), spec)
        settings = with_type_defaults(given, spec)
        changes = recipe_settings(name, {"transfer_rows", "task_epochs"})
        by_hand = with_changes(settings, spec, changes)
        assert by_hand.full_stages == searchs.full_stages, name
        assert by_hand.transfer_rows == 500 and by_hand.mapping == searchs.mapping
    default = with_changes(settings, spec, recipe_settings("default"))
    assert "relations" in default.full_stages[0].losses


def test_plans_are_checked_before_anything_is_computed(cells: Path) -> None:
    from quality import read_plan, wanted_tasks
    from search_worth import problems, recipes_for

    mine, file = cells / "mine.yaml", cells / "plan.yaml"
    mine.write_text("{text: sentence, label: label}")
    folder = cells / "mine"
    folder.mkdir()
    (folder / "train.csv").write_text("sentence,label\na,1\n")
    plan = {
        **{"budget": "1m", "speeds": [2], "recipes": ["default"]},
        **{"settings": {"teacher": "T"}, "tasks": {str(mine): {"max_length": 16}}},
    }
    args = argparse.Namespace(
        **{"plan": file, "data_dir": cells, "corpus": None, "threads": 1, "tasks": [str(mine)]},
        **{"methods": ["search", "hand-picked"], "from_seed": 0},
    )

    def found(**changes: Any) -> list[str]:
        file.write_text(yaml.safe_dump({**plan, **changes}))
        return list(dict.fromkeys(problems({"fixed": {}, **read_plan(file)}, args)))

    assert found() == []
    whole = read_plan(file)
    assert wanted_tasks(whole, args) == ["mine"] and whole["tasks"]["mine"]["task"] == str(mine)
    pipeline: Any = SimpleNamespace(run=SimpleNamespace(folder=cells / "mine"))
    assert next(recipes_for(whole, pipeline, "hand-picked", 0)) == "default"
    assert "none of its tasks: mine" in found(fixed={"mrpc": "default"})[0]
    assert "unknown recipe 'relation'" in found(fixed={"mine": "relation"})[0]
    assert "has no speeds" in found(speeds=None)[0]
    assert "budget" in found(budget="soon")[0]
    assert found(speeds=[2, 0.5]) == [
        f"{file}, mine: invalid --speedup 0.5: expected a number of at least 1, or none for "
        "students of any speed"
    ]
    [line] = found(settings={"teachr": "T"})
    assert "did you mean" in line and "\n" not in line
    with pytest.raises(KdnasError, match="--tasks other is not in"):
        wanted_tasks(whole, argparse.Namespace(plan=file, tasks=["other"]))


def test_the_example_of_a_plan_of_ones_own_is_one(cells: Path) -> None:
    from quality import read_plan
    from search_worth import planned

    plan = read_plan(BENCHMARKS / "search_worth_own.yaml")
    assert [*plan["tasks"]] == [*plan["fixed"]] == ["tickets"] and planned(plan)["variants"]


@pytest.mark.parametrize("kind", ["bert", "bart", "t5", "eurobert"])
def test_a_shape_by_hand_is_one_that_the_teacher_can_have(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from search_worth import picked_shape

    stack = {"num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64}
    sizes: dict[str, dict[str, Any]] = {
        "bert": {**stack, "hidden_size": 32},
        "bart": {"d_model": 32, "encoder_layers": 4, "decoder_layers": 2}
        | {f"{side}_attention_heads": 2 for side in ("encoder", "decoder")}
        | {f"{side}_ffn_dim": 64 for side in ("encoder", "decoder")},
        "t5": {"d_model": 32, "num_layers": 4, "num_heads": 2, "d_kv": 8, "d_ff": 64},
        "eurobert": {**stack, "hidden_size": 32, "num_key_value_heads": 2, "head_dim": 8},
    }
    config = AutoConfig.for_model(kind, vocab_size=50, pad_token_id=0, **sizes[kind])
    space = SearchSpace.from_teacher(config, kind)
    shape = picked_shape(space, 2, 16, 1.4)
    task = "sequence-to-sequence" if shape.decoder else "classification"
    assert (shape.num_hidden_layers, shape.hidden_size, shape.intermediate_size) == (2, 16, 22)
    assert shape.fits(space.teacher)
    assert empty_student(config, shape, TASK_TYPES[task]).num_parameters()
