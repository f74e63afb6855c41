"""The command lines of benchmarks: what they refuse, and how results keep them."""

from __future__ import annotations

import ast
import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kdnas.errors import KdnasError
from kdnas.files.atomic import read_json

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PLANS = {"quality": "ablation"}  # of those that are not called as their benchmark


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (BENCHMARKS / "tabular", BENCHMARKS):
        monkeypatch.syspath_prepend(str(folder))


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("seq2seq", "--teacher {no} --data-dir {no} --out {out}", "no-such"),
        ("seq2seq_teacher", "--data-dir {no} --out {out}", "no-such"),
        ("seq2seq_teacher", "--data-dir {no} --out {out} --task mrpc", "is classification"),
        ("fidelity", "{no} --plan {no} --json {out}", "does not exist"),
        ("near_a_speed", "--task nothing --data-dir {no} --out {out}", "unknown task 'nothing'"),
        ("make_multi_label", "{no} --out {out}", "no-such"),
        ("make_multi_label", "{no} --out {out} --task mrpc", "is classification"),
        ("own_vocabulary", "--data-dir {no} --tasks mrpc", "no-such"),
        ("glue_agreement", "{no} --task mrpc --data-dir {no}", "no-such"),
        ("structure", "--root {no}", "no folder kdnas"),
        ("quality", "--plan {no} --data-dir {no} --out {out}", "cannot read"),
        ("quality", "{of_a_plan} --from-seed -1", "a whole number, 0 or more, not '-1'"),
        *(
            (name, "{of_a_plan} --from-seed 3", "--from-seed 3 leaves no seed of --seeds 3, which")
            for name in ("quality", "recipes", "search_worth", "task_types")
        ),
        ("first_run", "--out {out} --seeds 0", "--seeds: expected a whole number above 0"),
        ("throughput", "--repeats none", "--repeats: expected a whole number above 0"),
        ("attention", "--repeats 0", "--repeats: expected a whole number above 0"),
        ("worth_figures", "{no}", "there is no file"),
        ("split_qqp", "{no} --out {out}", "there is no file"),
        ("split_squad2", "{no} --out {out}", "there is no file"),
        ("split_squad2", "{few} --out {out}", "is no file of SQuAD"),
        ("replay", "--table {no} --json {out}", "there is no file"),
        ("replay", "--table {slow} --objectives speedup4 --json {out}", "nothing to search on"),
        ("make", "--run {out} --part 2/2", "expected I/N"),
        ("kills", "--kills 0 --terms 0", "nothing to send: --kills 0 --terms 0; give"),
        ("kills", "--kills -1", "expected a whole number, 0 or more, not '-1'"),
        ("growth", "--rows 4 --sentences {few}", "too few sentences: 3 ("),
        ("step_profile", "--text {few}", "where 600 are needed; give a file with more"),
        ("candidate_cost", "--text {few}", "where 21,000 are needed"),
        ("minikd", "--json {few}/found.json", "--json: cannot write"),
        ("minikd", "--json {here}", "is a folder; give a file"),
        ("minikd", "--json {broken}", "is not JSON; give another file"),
        ("precision", "--json {list}", "is JSON, but no object; give another file"),
        ("worth_figures", "{list}", "has no pairs in an entry search-worth"),
        ("precision", "--epochs -1", "--epochs: expected a number above 0, not '-1'"),
        ("precision", "--epochs 1e9", "invalid --mini-epochs"),
        ("throughput", "--epochs 0", "--epochs: expected a number above 0, not '0'"),
        ("batch_size", "--longer nan", "--longer: expected a number above 0, not 'nan'"),
        ("timing", "--speedup 0", "--speedup: expected a number above 0, not '0'"),
        ("timing", "--speedup 1e6", "invalid --speedup 1000000.0: expected"),
        ("growth", "--trials 3 2 3", "--trials has 3 twice; give each once"),
        ("growth", "--trials --rows --workers", "nothing to measure: --trials, --rows, --workers"),
        ("throughput", "--students 3x384 wide --examples 40", "invalid shape 'wide'"),
        ("minikd", "--students 3x384 wide --examples 40", "invalid shape 'wide'"),
    ],
)
def test_bad_input_ends_a_benchmark_in_one_line(
    name: str,
    words: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    few, broken = tmp_path / "few.txt", tmp_path / "broken.json"
    few.write_text("One.\n\nTwo.\nThree.\n")
    broken.write_text('{"kills":')
    (tmp_path / "list.json").write_text("[1]")
    places = {"no": tmp_path / "no-such", "out": tmp_path / "out", "here": tmp_path}
    places |= {
        "list": tmp_path / "list.json",
        "few": few,
        "broken": broken,
        "slow": BENCHMARKS / "tabular" / "tiny-mrpc.csv",
    }
    of_a_plan = f"--plan {BENCHMARKS / PLANS.get(name, name)}.yaml --data-dir {{no}} --out {{out}}"
    given = [word.format(**places) for word in words.replace("{of_a_plan}", of_a_plan).split()]
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *given])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(name).main()
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and told in err.splitlines()[-1]
    assert "|" not in out and not [*tmp_path.rglob("config.yaml")]


def test_what_a_benchmark_writes_at_its_end_is_checked_at_its_start() -> None:
    for file in [*BENCHMARKS.glob("*.py"), *(BENCHMARKS / "tabular").glob("*.py")]:
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            option = ast.unparse(call.args[0]) if isinstance(call, ast.Call) and call.args else ""
            if option in ("'--json'", "'--html'"):
                kinds = {ast.unparse(word.value) for word in call.keywords if word.arg == "type"}
                assert kinds == {"a_result"}, (file, option)


def test_the_folder_of_a_result_is_made_before_anything_is_computed(tmp_path: Path) -> None:
    from command_line import a_result

    file = tmp_path / "a" / "b" / "found.json"
    assert a_result(str(file)) == file and file.parent.is_dir() and not file.exists()
    file.touch()
    assert a_result(str(file)) == file


def test_students_of_a_precision_are_no_more_than_the_space_has() -> None:
    from precision import spread

    space: Any = SimpleNamespace(architectures=list("abc"))
    assert sorted(spread(space, 3, 0)) == list("abc")
    with pytest.raises(KdnasError, match=r"invalid --students 4: the space has 3; give fewer"):
        spread(space, 4, 0)


def test_every_benchmark_tells_bad_input_in_one_line() -> None:
    for file in [*BENCHMARKS.glob("*.py"), *(BENCHMARKS / "tabular").glob("*.py")]:
        body = ast.parse(file.read_text(encoding="utf-8")).body
        if any(isinstance(one, ast.If) and "__main__" in ast.unparse(one.test) for one in body):
            [main] = [n for n in body if isinstance(n, ast.FunctionDef) and n.name == "main"]
            assert [*map(ast.unparse, main.decorator_list)] == ["in_one_line()"], file


def test_a_recorded_command_has_every_option_and_no_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from command_line import this_command

    places = ["--data-dir", str(tmp_path), f"--out={tmp_path}/out", "--teacher", str(tmp_path)]
    plans = ["--plan", str(BENCHMARKS / "pruned.yaml"), "--config", str(tmp_path / "own.yaml")]
    rest = ["--targets", "4x", "80%", "--seeds", "2", "--json", f"{tmp_path}/docs/results.json"]
    monkeypatch.setattr(sys, "argv", [str(BENCHMARKS / "pruned.py"), *places, *plans, *rest])
    assert this_command() == (
        "python benchmarks/pruned.py --data-dir DATA --out OUT --teacher TEACHER "
        "--plan benchmarks/pruned.yaml --config own.yaml "
        "--targets 4x 80% --seeds 2 --json docs/results.json"
    )
    monkeypatch.setattr(sys, "argv", ["quality.py", "--teacher", "google/bert-tiny"])
    assert this_command() == "python benchmarks/quality.py --teacher google/bert-tiny"


def test_no_result_names_a_folder_of_one_machine() -> None:
    text = (BENCHMARKS.parent / "docs/results.json").read_text(encoding="utf-8")
    assert not any(private in text for private in ("/tmp/", "/home/", "/work/"))


def test_throughput_adds_its_entry_to_a_file_of_others() -> None:
    from throughput import merged

    found: dict[str, Any] = {"geomean_vs_predecessor": 12.0, "share_of_limit": 0.5, "rows": []}
    top = {"geomean_vs_predecessor": 12.0, "share_of_limit": 0.5}
    assert merged({}, found) == {**top, "throughput": found}
    others = {"kills": {"rounds": 10}, "throughput": {"share_of_limit": 0.4}}
    assert merged(others, found) == {"kills": {"rounds": 10}, "throughput": found}
    # Of an earlier version, or with an entry that another benchmark added.
    before = {"share_of_limit": 0.1, "rows": [1], "geomean_vs_predecessor": 9.0, "growth": {}}
    assert merged(before, found) == {**top, "growth": {}, "throughput": found}
    assert merged(merged({}, found), found) == merged({}, found)


def test_a_benchmark_writes_its_own_entry_and_no_other_of_a_file() -> None:
    for file in [*BENCHMARKS.glob("*.py"), *(BENCHMARKS / "tabular").glob("*.py")]:
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(call, ast.Call) and ast.unparse(call.func) == "write_json"):
                continue
            to, what = map(ast.unparse, call.args)
            if to.endswith(".json"):
                assert "read_json" in what or what == "whole", (file, ast.unparse(call))


def test_an_entry_has_its_command_and_leaves_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from command_line import entry_in, write_entry

    file = tmp_path / "found.json"
    script = BENCHMARKS / "tabular" / "loop.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--json", str(file)])
    assert entry_in(file, "loop") == {}
    file.write_text('{"kills": 3, "loop": {"cases": [1]}}')
    assert (entry_in(file, "kills"), entry_in(file, "loop")) == ({}, {"cases": [1]})
    write_entry(file, "loop", {"cases": []})
    command = "python benchmarks/tabular/loop.py --json docs/results.json"
    assert read_json(file) == {"kills": 3, "loop": {"cases": [], "command": command}}
    file.write_text("[1]")
    assert entry_in(file, "loop") == {}


def test_growth_writes_each_part_when_it_is_measured_and_leaves_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import growth

    file = tmp_path / "found.json"
    before = {"rows": {"4": {"trial": 1.0}}, "workers": {}, "command": "before"}
    file.write_text(json.dumps({"kills": {}, "growth": before}))

    def broken(*_: Any) -> dict[str, float]:
        raise KdnasError("no server")

    monkeypatch.setattr(growth, "_trials", lambda folder, count, args: {"search": float(count)})
    monkeypatch.setattr(growth, "_workers", broken)
    for name in ("KDNAS_LOCKS", "KDNAS_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    words = ["--trials", "2", "4", "--rows", "--workers", "1", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["growth.py", *words])
    with pytest.raises(SystemExit):
        growth.main()
    whole = read_json(file)
    assert whole["kills"] == {}
    entry = whole["growth"]
    assert entry["trials"] == {"2": {"search": 2.0}, "4": {"search": 4.0}}
    assert (entry["rows"], entry["workers"]) == (before["rows"], {})
    assert entry["commands"]["rows"] == "before" and "--trials 2 4" in entry["commands"]["trials"]
    assert "| 4 | 4.0 (+1.00) |" in capsys.readouterr().out


def test_timings_of_both_ways_are_compared_on_the_same_shapes() -> None:
    from timing import Timings, summary

    every = Timings([1.0, 2.0], [30, 30], [[2.0, 2.2], [4.0, 4.4]])
    fewer = Timings([1.0], [8], [[2.0, 9.0], [4.0, 4.1]])
    assert summary(every, [False, True])["spread"] == pytest.approx(0.0674, abs=1e-4)
    assert summary(fewer, [False, True])["spread"] == pytest.approx(0.0175, abs=1e-4)
    once = Timings([1.0], [30], [[2.0], [4.0]])
    assert summary(once, [True, True])["spread"] is None
    assert summary(every, [False, False])["spread"] is None


def test_every_benchmark_says_in_its_help_what_it_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import glue_agreement

    monkeypatch.setattr(sys, "argv", ["glue_agreement.py", "--help"])
    with pytest.raises(SystemExit):
        glue_agreement.main()
    assert "How far scores of `kdnas evaluate` are from" in capsys.readouterr().out


def test_a_single_shape_has_no_order_to_agree_on() -> None:
    import numpy as np
    from runtimes import agreement, table

    taus = agreement({"PyTorch": np.array([4.0]), "ONNX": np.array([3.5])})
    rows = table(["PyTorch", "ONNX"], taus, 2).splitlines()
    assert rows[-1] == "| ONNX | - | - |"
