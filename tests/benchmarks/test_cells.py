"""Cells that benchmarks keep: by which settings, and which of them count."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import QUICK

from kdnas.config import find_recipe
from kdnas.errors import KdnasError
from kdnas.runs.run_folder import Run
from kdnas.space import Architecture, Candidate, Pruning
from kdnas.tasks import load_spec
from kdnas.workflow.api import new_run

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SHAPE = Architecture(2, 4, 32, 64, "gelu")
PLAN: dict[str, Any] = {
    "tasks": {"mrpc": {}, "rte": {}},
    "students": {"a": SHAPE.params, "b": SHAPE.params},
    "variants": [{"name": name, "student": name, "settings": {"epochs": 2}} for name in "ab"],
}


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a plan whose students cost nothing; returns how many are in the file."""
    import quality
    from plans import read_plan

    file, out = tmp_path / "plan.yaml", tmp_path / "out"
    monkeypatch.setattr(quality, "pipeline_of", lambda *_: None)
    monkeypatch.setattr(quality, "result_of", lambda *_: {"scores": {"accuracy": 0.5}})

    def run(*, tasks: list[str], **changes: Any) -> int:
        file.write_text(yaml.safe_dump({**PLAN, **changes}))
        args = argparse.Namespace(plan=file, out=out, tasks=tasks, from_seed=0, seeds=2)
        return len(quality.rows_in(quality.run_plan(read_plan(file), args)))

    return run


def test_cells_by_other_settings_are_refused_before_anything_is_computed(
    made: Callable[..., int], tmp_path: Path
) -> None:
    assert made(tasks=["mrpc"]) == made(tasks=["mrpc"]) == 4
    first, second = PLAN["variants"]
    others: list[dict[str, Any]] = [
        {"variants": [{**first, "settings": {"epochs": 3}}, second]},
        {"students": {**PLAN["students"], "a": {**SHAPE.params, "num_hidden_layers": 1}}},
        {"budget": "1m"},
        {"recipes": ["pkd"]},
        {"search": {"mini_epochs": 2}},
        {"fixed": {"mrpc": "pkd"}},
        {"settings": {"finalists": 3}},
    ]
    for changes in others:
        with pytest.raises(KdnasError, match="'a' of mrpc, seed 0, by other settings") as told:
            made(tasks=["rte"], **changes)
        assert "\n" not in str(told.value)
    # What decides nothing of these cells, and a variant of another name.
    more = {"name": "c", "student": "b", "settings": {"epochs": 9}}
    assert made(tasks=["mrpc"], variants=[{**first, "final": True}, second, more]) == 6
    assert made(tasks=["mrpc"], fixed={"rte": "pkd"}) == 6


def test_cells_from_before_there_were_digests_count(
    made: Callable[..., int], tmp_path: Path
) -> None:
    made(tasks=["mrpc"])
    file = tmp_path / "out" / "results.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    without = [{key: value for key, value in row.items() if key != "digest"} for row in rows]
    assert all("digest" in row for row in rows)
    file.write_text("".join(json.dumps(row) + "\n" for row in without))
    assert made(tasks=["mrpc"], budget="1m") == 4


def test_a_line_that_a_kill_cut_short_is_made_again(
    made: Callable[..., int], tmp_path: Path
) -> None:
    made(tasks=["mrpc"])
    file = tmp_path / "out" / "results.jsonl"
    file.write_text(file.read_text()[:-9])
    assert made(tasks=["mrpc"]) == made(tasks=["mrpc"]) == 4


def test_plans_and_variants_train_by_the_recipes_that_they_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import quality

    asked = list[Any]()

    def begun(run: Run) -> Any:
        asked.append(run.settings)
        raise KdnasError("stopped")

    monkeypatch.setattr(quality, "Stepwise", begun)
    args = argparse.Namespace(data_dir=tmp_path, out=tmp_path / "out", corpus=None, threads=1)
    with pytest.raises(KdnasError, match="stopped"):
        quality.pipeline_of("mrpc", {**PLAN, "settings": {"recipe": "logits"}}, args)
    [settings], spec = asked, load_spec("mrpc")
    assert settings.recipe == "logits" and settings.stages == find_recipe("logits").stages
    for name in ("transfer", "pkd"):
        by = quality.with_changes(settings, spec, {"recipe": name})
        assert by.recipe == name and by.stages == find_recipe(name).stages
    default = quality.with_changes(settings, spec, {"recipe": "default"})
    assert not default.stages and "relations" in default.full_stages[0].losses
    own = quality.with_changes(settings, spec, {"stages": find_recipe("pkd").stages})
    assert own.recipe == "default" and own.stages == find_recipe("pkd").stages
    with pytest.raises(KdnasError, match="did you mean 'logits'"):
        quality.with_changes(settings, spec, {"recipe": "logit"})


def test_lines_by_another_content_of_a_recipe_are_refused(
    made: Callable[..., int], tmp_path: Path
) -> None:
    file = tmp_path / "own.yaml"
    stage = {"name": "a", "data": "task", "losses": {"task": 1}, "epochs": 1, "lr": 0.001}
    file.write_text(yaml.safe_dump({"stages": [stage]}))
    variants = [{"name": "a", "student": "a", "settings": {"recipe": str(file)}}]
    assert made(tasks=["mrpc"], variants=variants) == made(tasks=["mrpc"], variants=variants) == 2
    file.write_text(yaml.safe_dump({"stages": [{**stage, "epochs": 2}]}))
    with pytest.raises(KdnasError, match="'a' of mrpc, seed 0, by other settings"):
        made(tasks=["mrpc"], variants=variants)


def test_a_first_run_takes_what_the_runs_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import first_run

    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "clock.json").write_text('{"seconds": 61.4}')

    def model(score: float, name: str = "") -> Any:
        shape = SimpleNamespace(label="4x48")
        return SimpleNamespace(name=name, scores={"accuracy": score}, architecture=shape)

    report = SimpleNamespace(
        **{"main_score": "accuracy", "teacher": model(0.9), "student": model(0.8)},
        **{"controls": [model(0.7, first_run.NO_KD)], "speedup": 4.0, "selection": None},
        seconds={"teacher": 40.0, "one student": 30.0, "beside it": 30.0},
    )
    monkeypatch.setattr(first_run, "new_run", lambda *_: SimpleNamespace(folder=tmp_path))
    monkeypatch.setattr(first_run, "finished", lambda _: SimpleNamespace(report=report))
    monkeypatch.setattr(sys, "argv", ["first_run.py", "--out", str(tmp_path), "--seeds", "1"])
    first_run.main()
    assert capsys.readouterr().out.splitlines()[2].endswith("| 61 |")


def test_recipes_with_other_epochs_are_refused_for_speeds_that_are_not_asked_for_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import recipes
    from plans import read_plan
    from quality import digest_of

    plan = read_plan(BENCHMARKS / "recipes.yaml")
    [pkd, _] = recipes.variants(["pkd"], ["2x"], 3.0)
    row = {"task": "mrpc", "variant": "2x pkd", "seed": 0, "digest": digest_of(plan, "mrpc", pkd)}
    (tmp_path / "results.jsonl").write_text(json.dumps(row) + "\n")
    monkeypatch.setattr(recipes, "run_plan", lambda *_: tmp_path / "nothing")
    places = ["recipes.py", "--data-dir", str(tmp_path), "--out", str(tmp_path), "--speeds", "4x"]
    monkeypatch.setattr(sys, "argv", [*places, "--epochs", "3"])
    recipes.main()
    monkeypatch.setattr(sys, "argv", [*places, "--epochs", "6"])
    with pytest.raises(SystemExit):
        recipes.main()
    assert "'2x pkd' of mrpc, seed 0, by other settings" in capsys.readouterr().err


def test_searches_with_another_budget_are_refused_at_any_seed_and_speed(tmp_path: Path) -> None:
    from quality import digest_of
    from search_worth import planned, refuse_other_plans

    plan: dict[str, Any] = {
        **{"budget": "7m", "speeds": [2], "recipes": ["default"], "fixed": {}},
        **{"tasks": {"mrpc": {}}, "students": {}, "variants": []},
    }
    whole = planned(plan, ["hand-picked"], 3)
    key = {"task": "mrpc", "variant": "2x hand-picked", "seed": 3, "speed": 2}
    row = key | {"digest": digest_of(whole, "mrpc", whole["variants"][0])}
    (tmp_path / "seed-3").mkdir()
    (tmp_path / "seed-3" / "results.jsonl").write_text(json.dumps(row) + "\n")
    refuse_other_plans(tmp_path, plan)
    with pytest.raises(KdnasError, match="2x hand-picked"):
        refuse_other_plans(tmp_path, {**plan, "budget": "1m", "speeds": [4]})


def test_finished_runs_are_read_and_those_by_other_options_are_refused(
    teacher_folder: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import seq2seq

    given = {**QUICK, "teacher": str(teacher_folder), "task": "mrpc", "data_dir": data_folder}
    given |= {"out": tmp_path / "run", "trials": 2}
    reports, gone_on = list[str](), list[int | None]()

    def load_run(folder: Path) -> Any:
        return SimpleNamespace(settings=Run.open(folder).settings, report=(*reports, None)[0])

    def complete(run: Run) -> None:
        gone_on.append(run.settings.trials)
        reports.append("made")
        (run.folder / "report.json").touch()

    monkeypatch.setattr(seq2seq, "load_run", load_run)
    monkeypatch.setattr(seq2seq, "complete", complete)
    for trials, seen in ((2, [2]), (2, [2]), (3, [2, 3])):
        assert seq2seq.finished(new_run(None, {**given, "trials": trials})).report == "made"
        assert gone_on == seen
    with pytest.raises(KdnasError, match="--max-train-rows") as told:
        new_run(None, {**given, "max_train_rows": 100})
    assert "\n" not in str(told.value)


def test_students_near_another_speed_are_refused_before_a_teacher_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import near_a_speed

    settings, data = list[Any](), SimpleNamespace(spec=SimpleNamespace(main_score="f1"))

    def stepwise(run: Run) -> Any:
        settings.append(run.settings)
        return SimpleNamespace(run=run, data=data, context=None)

    monkeypatch.setattr(near_a_speed, "Stepwise", stepwise)
    monkeypatch.setattr(near_a_speed, "check_same_data", lambda *_: None)
    monkeypatch.setattr(near_a_speed, "chosen", lambda *_: [{"label": "a", "final": {"0": 0.5}}])
    places = ["--task", "mrpc", "--data-dir", str(tmp_path), "--out", str(tmp_path / "out")]

    def command(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["near_a_speed.py", *places, *words])
        near_a_speed.main()

    command()
    command("--speedup", "4")
    for option, value, before in (("speedup", 3, 4), ("within", 1.5, 1.2), ("students", 2, 14)):
        with pytest.raises(SystemExit):
            command(f"--{option}", str(value))
        [line] = capsys.readouterr().err.splitlines()
        assert f"has students of --{option} {before}, not {value}; give another --out" in line
    file = tmp_path / "out" / "fidelity.json"
    known = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in known.items() if key != "asked"}))
    command("--speedup", "3")
    assert settings[0].teacher_lr == 1e-4 and not settings[0].force
    places[-1] = str(tmp_path / "another")  # what the refusal of a weak teacher names
    command("--teacher-lr", "3e-4", "--force")
    assert settings[-1].teacher_lr == 3e-4 and settings[-1].force


def test_a_killed_training_of_a_teacher_goes_on_with_its_own_options_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import seq2seq_teacher

    def killed(*_: Any) -> Any:
        raise KdnasError("killed")

    monkeypatch.setattr(seq2seq_teacher, "load_data", lambda *_, **__: None)
    monkeypatch.setattr(seq2seq_teacher, "make_tokenizer", killed)
    monkeypatch.setattr(seq2seq_teacher, "evaluate", lambda *_, **__: {"bleu": 1})
    out = tmp_path / "teacher"

    def told(*words: str) -> str:
        given = ["seq2seq_teacher.py", "--data-dir", str(tmp_path), "--out", str(out), *words]
        monkeypatch.setattr(sys, "argv", given)
        try:
            seq2seq_teacher.main()
        except SystemExit as ended:
            assert ended.code == 2
        return capsys.readouterr().err

    assert told("--rows", "9") == told("--rows", "9", "--threads", "2") == "error: killed\n"
    options = ("lr", 1e-3), ("epochs", 2.0), ("vocabulary", 99), ("seed", 1)
    for name, value in options:
        words = f"teacher-work has another training: its --{name} is "
        assert words in (line := told("--rows", "9", f"--{name}", str(value)))
        assert line.endswith(f", not {value!r}; give another --out\n")
    assert "its --rows is 9; you gave none; give another --out" in told()
    out.mkdir()
    (out / "config.json").touch()
    assert told("--rows", "9") == "" and "its --lr is" in told("--rows", "9", "--lr", "0.1")
    # One that was finished before options were kept.
    (tmp_path / "teacher-work" / "options.json").unlink()
    assert told("--lr", "0.1") == ""
    assert not (tmp_path / "teacher-work" / "options.json").exists()


def test_task_types_compare_the_seeds_that_both_students_have(tmp_path: Path) -> None:
    from task_types import _entry, _figures

    (tmp_path / "mrpc" / "steps").mkdir(parents=True)
    (tmp_path / "mrpc" / "steps" / "evaluate-teacher.json").write_text('{"accuracy": 0.8}')
    file = tmp_path / "results.jsonl"
    scores = {("4x", 0): 0.7, ("4x, fine-tuned", 0): 0.6, ("4x", 1): 0.9, ("2x", 0): 0.8}
    rows = [
        {"task": "mrpc", "variant": variant, "seed": seed, "scores": {"accuracy": score}}
        for (variant, seed), score in scores.items()
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    variants = [
        {"name": student + ending, "student": student}
        for student in ("2x", "4x")
        for ending in ("", ", fine-tuned")
    ]
    entry = _entry(_figures("mrpc", file, {"variants": variants}, tmp_path))
    assert "2x" not in entry
    assert entry["4x"] == {"score": 0.7, "fine_tuned": 0.6, "retention": 0.875, "seeds": [0]}


@pytest.fixture
def task_types_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs benchmarks/task_types.py for a plan, whose trainings are there; returns its entry."""
    import task_types

    found = tmp_path / "found.json"

    def command(name: str, teacher: float, scores: dict[str, float], *names: str) -> Any:
        out = tmp_path / name
        (out / "mrpc" / "steps").mkdir(parents=True, exist_ok=True)
        (out / "mrpc" / "steps" / "evaluate-teacher.json").write_text(f'{{"accuracy": {teacher}}}')
        variants = [
            {"name": one, "student": one.partition(",")[0], "settings": {}}
            for one in names or scores
        ]
        students = {one["student"]: SHAPE.params for one in variants}
        plan = {"tasks": {"mrpc": {}}, "students": students, "variants": variants}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(plan))
        rows = [
            {"task": "mrpc", "variant": variant, "seed": 0, "scores": {"accuracy": score}}
            for variant, score in scores.items()
        ]
        (out / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        monkeypatch.setattr(task_types, "run_plan", lambda *_: out / "results.jsonl")
        places = ["--plan", tmp_path / f"{name}.yaml", "--data-dir", tmp_path, "--out", out]
        given = ["task_types.py", *map(str, places), "--table", "--json", str(found)]
        monkeypatch.setattr(sys, "argv", given)
        task_types.main()
        return json.loads(found.read_text())["task-types"].get("mrpc")

    return command


def test_plans_of_one_task_keep_their_figures_apart(task_types_of: Callable[..., Any]) -> None:
    dense = task_types_of("dense", 0.8, {"2x": 0.7, "2x, fine-tuned": 0.6})
    assert dense["plan"] == "dense" and dense["2x"]["retention"] == 0.875
    pruned = task_types_of("pruned", 0.9, {"2x": 0.81, "2x, fine-tuned": 0.7})
    assert pruned["plan"] == "pruned" and pruned["teacher"] == 0.9
    assert pruned["2x"] == {"score": 0.81, "fine_tuned": 0.7, "retention": 0.9, "seeds": [0]}
    assert pruned["plans"]["dense"] == dense["plans"]["dense"]
    again = task_types_of("dense", 0.8, {"2x": 0.64, "2x, fine-tuned": 0.6})
    assert again["plan"] == "pruned" and again["teacher"] == 0.9
    assert again["plans"]["dense"]["2x"]["retention"] == 0.8
    assert again["command"] == pruned["command"] == again["plans"]["pruned"]["command"]


def test_each_variant_of_a_plan_has_a_row_and_no_figures_are_no_entry(
    task_types_of: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {"2x": 0.7, "2x, relations": 0.72, "2x, fine-tuned": 0.6, "4x, transfer": 0.4}
    found = task_types_of("several", 0.8, scores)
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[3:] for row in rows] == [
        ["2x", "0.7000", "0.6000", "87.5% |"],
        ["2x, relations", "0.7200", "0.6000", "90.0% |"],
        ["4x, transfer", "0.4000", "-", "50.0% |"],
    ]
    assert found["2x, relations"]["fine_tuned"] == 0.6
    assert found["4x, transfer"] == {"score": 0.4, "retention": 0.5, "seeds": [0]}
    assert task_types_of("none", 0.8, {}, "2x") == found
    assert task_types_of("several", 0.8, {}, "2x") == found


def test_published_tasks_have_their_best_plan_at_the_top() -> None:
    from task_types import merged

    text = (BENCHMARKS.parent / "docs" / "results.json").read_text(encoding="utf-8")
    entry = json.loads(text)["task-types"]
    for task, one in entry.items():
        for plan, own in one["plans"].items():
            assert merged(entry, {task: own}, plan) == entry, (task, plan)


@pytest.fixture
def pruned_by_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs benchmarks/pruned.py for some seeds, whose cells are there; returns its entry."""
    import pruned

    file, found = tmp_path / "plan.yaml", tmp_path / "found.json"
    plan = {
        "settings": {"teacher": "nobody/nothing"},
        "tasks": {"mrpc": {}},
        "speedups": [4],
        "methods": {
            "ziplm": {"method": "ziplm"},
            "MaxiDisc": {"method": "gradient", "grid": {"sparsities": [0.5], "assistants": [1]}},
        },
    }
    file.write_text(yaml.safe_dump(plan))
    (tmp_path / "mrpc").mkdir()

    def prepared(plan: Any, args: Any, task: str, seed: int) -> Any:
        run = Run.create(pruned.settings_of(plan, args, task, seed))
        for name, method, assistants, score in (
            ("ziplm", "ziplm", (), 0.8),
            ("MaxiDisc-50%", "gradient", ("0.5",), 0.7),
        ):
            pruning = Pruning(method, speedup=4.0)
            key = Candidate(SHAPE, pruning=pruning, assistants=assistants).params
            cell = {"score": score + seed / 10, "speedup": 4.0, "seconds": {"train": 60 + seed}}
            run.step(f"cell 4x-{name}", key).write(cell)
        run.step("cell 4x-dense", {"near": 4.0}).write(cell)
        context = SimpleNamespace(run=run)
        space = SimpleNamespace(space=SimpleNamespace(teacher=SHAPE))
        return SimpleNamespace(context=context, inputs=space)

    monkeypatch.setattr(pruned, "prepared_for", prepared)
    monkeypatch.setattr(pruned, "open_source", lambda *_: None)

    def command(*words: str) -> Any:
        places = ["--plan", file, "--data-dir", tmp_path, "--out", tmp_path / "out"]
        given = ["pruned.py", *map(str, places), "--json", str(found), *words]
        monkeypatch.setattr(sys, "argv", given)
        pruned.main()
        return json.loads(found.read_text())["pruned"]

    return command


def test_pruned_students_are_averaged_over_all_seeds_that_are_there(
    pruned_by_seed: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    pruned_by_seed("--seeds", "0")
    entry = pruned_by_seed("--seeds", "1")["mrpc"]["4x"]
    assert entry["ziplm"]["mean"] == 0.85 and entry["ziplm"]["seeds"] == [0, 1]
    assert entry["best MaxiDisc"]["mean"] == 0.75 and entry["best MaxiDisc"]["seconds"] == 60.5
    assert entry["dense"]["seeds"] == [0, 1]
    again = pruned_by_seed("--seeds", "0", "--methods", "ziplm")
    cells = again["mrpc"]["4x"]
    last = cells["ziplm"].pop("command")
    assert last.endswith("--json docs/results.json --seeds 0 --methods ziplm")
    before = entry["ziplm"].pop("command")
    assert before.endswith("--json docs/results.json --seeds 1")
    assert cells == entry and cells["dense"]["command"] == before
    with pytest.raises(SystemExit):
        pruned_by_seed("--seeds", "2", "--teacher", "somebody/else")
    assert "holds another run: its --teacher" in capsys.readouterr().err
    for seeds, told in ((["0", "1", "0"], "--seeds names 0 more than once"), (["-1"], "not '-1'")):
        with pytest.raises(SystemExit):
            pruned_by_seed("--seeds", *seeds)
        assert told in capsys.readouterr().err


def test_pruned_plans_are_checked_before_a_teacher_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pruned
    from plans import read_plan

    file = tmp_path / "plan.yaml"
    whole = yaml.safe_load((BENCHMARKS / "pruned.yaml").read_text())
    monkeypatch.setattr(pruned, "open_source", lambda *_: None)

    def told(asked: dict[str, list[str]] | None = None, **changes: Any) -> str:
        file.write_text(yaml.safe_dump({**whole, **changes}))
        args = argparse.Namespace(plan=file, targets=None, methods=None, tasks=None, seeds=[0])
        places = {"out": tmp_path / "out", "data_dir": tmp_path, "teacher": None, "threads": None}
        vars(args).update({**places, **(asked or {})})
        try:
            pruned.check_plan(read_plan(file), args)
        except KdnasError as error:
            assert "\n" not in str(error)
            return str(error)
        return ""

    assert told() == told({"targets": ["80%", "4x"], "methods": ["MaxiDisc", "dense"]}) == ""
    assert f"--targets 5x is not in {file}, which has 2x, 4x" in told({"targets": ["5x"]})
    assert f"--methods zipml is not in {file}" in told({"methods": ["zipml"]})
    assert "has no methods" in told(methods=None)
    assert "'zipml'; did you mean 'ziplm'" in told(methods={"own": {"method": "zipml"}})
    grid = {"method": "gradient", "grid": {"sparsities": [0.5]}}
    assert "the grid of own lacks" in told(methods={"own": grid})
    assert "neither speedups nor sparsities" in told(speedups=[], sparsities=None)
    assert "unknown option 'teachr'" in told(settings={"teachr": "T"})
    assert not (tmp_path / "out").exists()


def test_assistants_may_be_a_text(tmp_path: Path) -> None:
    from pruned import methods_of

    [one] = methods_of({"methods": {"own": {"method": "gradient", "assistants": "auto"}}})
    assert one.assistants == ("auto",)
