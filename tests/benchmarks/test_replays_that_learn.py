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


def test_replays_in_figures_are_those_that_are_asked_for(
    tables: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import replay

    monkeypatch.setattr(replay.Table, "picks", lambda *_: [])

    out = tmp_path / "out.json"

    def seeds_of(*more: object) -> int:
        given = ["--samplers", "random", "--objectives", "reward-0.06", *map(str, more)]
        places = ["--table", str(tables[0]), "--json", str(out)]
        monkeypatch.setattr(sys, "argv", ["replay.py", *places, *given])
        replay.main()
        objective = json.loads(out.read_text())["replay"]["objectives"]["reward-0.06"]
        return int(objective["samplers"]["random"]["seeds"])

    file = out.with_suffix(".jsonl")
    assert seeds_of("--seeds", 2, "--trials", 1) == 2
    file.write_text(file.read_text()[:-9])  # a kill cut the last one short
    assert seeds_of("--seeds", 2, "--trials", 1) == 2
    assert seeds_of("--seeds", 1, "--trials", 1, "--picks", 1) == 1
    assert seeds_of("--seeds", 1, "--trials", 2) == seeds_of("--seeds", 1, "--trials", 1) == 1


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


def test_figures_are_of_the_searches_that_are_asked_for_on_these_tables(
    tables: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import learn_from

    searched = list[tuple[str, list[str]]]()

    def search(table: Any, others: list[Any], *_: Any) -> dict[str, Any]:
        searched.append((table.file.stem, [one.file.stem for one in others]))
        return {"reached": 1, "after": 0.0}

    monkeypatch.setattr(learn_from, "_search", search)
    third, found = tmp_path / "third.csv", tmp_path / "found.json"
    third.write_text(tables[0].read_text())

    def command(words: str, files: list[Path] = tables) -> tuple[int, list[tuple[str, int]]]:
        """How many searches it makes, and how many its figures are of, by table."""
        given = ["--tables", *map(str, files), "--out", str(tmp_path), "--json", str(found)]
        words += " --samplers tpe --objectives reward-0.06"
        monkeypatch.setattr(sys, "argv", ["learn_from.py", *given, *words.split()])
        searched.clear()
        learn_from.main()
        rows = json.loads(found.read_text())["learn-from"]["rows"]
        return len(searched), [(row["table"], row["searches"]) for row in rows]

    assert command("--seeds 2") == (8, [("all", 4), ("narrow", 2), ("wide", 2)])
    assert command("--seeds 2") == (0, [("all", 4), ("narrow", 2), ("wide", 2)])
    assert command("--seeds 1") == (0, [("all", 2), ("narrow", 1), ("wide", 1)])
    assert command("--seeds 1 --search wide") == (0, [("all", 1), ("wide", 1)])
    # Those without lessons are of their own table alone.
    more = command("--seeds 1 --search wide", [*tables, third])
    assert more == (1, [("all", 1), ("wide", 1)]) and searched == [("wide", ["narrow", "third"])]
    tables[0].write_text(tables[0].read_text() + "\n")
    assert command("--seeds 1")[0] == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--tables {narrow}", "has no other to learn from; give two or more"),
        ("--tables {narrow} {narrow}", "has two tables called 'narrow'"),
        ("--search nope", "--search nope is not in --tables, which has narrow, wide"),
        ("--tables {narrow} {text}", "is no table of students: it has no column num_hidden_layers"),
        ("--tables {narrow} {binary}", "is no table of students: it is not CSV; give a CSV of"),
        ("--tables {narrow} {empty}", "is no table of students: it has no rows; give a CSV of"),
        ("--earlier -3", "expected a whole number above 0"),
        ("--samplers foo", "'foo'"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_one_line(
    words: str,
    told: str,
    tables: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import learn_from

    places = {"narrow": tables[0], "text": tmp_path / "few.md", "binary": tmp_path / "a.bin"}
    places["text"].write_text("# A heading\n\nText, and more.\n")
    places["binary"].write_bytes(b"\xff\xfe\x00\x01")
    places["empty"] = tmp_path / "empty.csv"
    places["empty"].write_text(tables[0].read_text().splitlines()[0])
    given = ["--tables", *map(str, tables), "--out", str(tmp_path / "out")]
    given += words.format(**places).split()
    monkeypatch.setattr(sys, "argv", ["learn_from.py", *given])
    with pytest.raises(SystemExit) as ended:
        learn_from.main()
    line = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2 and told in line and line.count("nsga2") <= 1


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
