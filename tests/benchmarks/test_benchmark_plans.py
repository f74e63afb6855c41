"""Benchmarks by a plan of one's own: another teacher and tasks, some of which are not done yet."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import QUICK

from kdnas.errors import KdnasError
from kdnas.space import Candidate

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HALF = {
    **{"num_hidden_layers": 1, "num_attention_heads": 4, "hidden_size": 16},
    **{"intermediate_size": 32, "hidden_act": "gelu"},
}
LABELS = {"name": "labels", "data": "task", "losses": {"task": 1}, "epochs": 0.1, "lr": 1e-3}
TRANSFER = {**LABELS, "name": "transfer", "data": "transfer", "losses": {"logits": 1}}


@pytest.fixture
def plan(teacher_folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two tasks, a dense and a pruned student."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    entry = {"text": ["#1 String", "#2 String"], "label": "Quality"}
    return {
        "settings": {
            **{k: v for k, v in QUICK.items() if k not in ("threads", "speedup")},
            **{"teacher": str(teacher_folder), "teacher_epochs": 0.1, "tasks": {"mine": entry}},
        },
        "tasks": {"mine": {}, "rte": None},
        "students": {"half": HALF, "pruned": {"pruning": "magnitude", "sparsity": 0.5}},
        "variants": [
            {"name": "half", "student": "half", "final": True, "settings": {"stages": [LABELS]}},
            {"name": "pruned", "student": "pruned", "final": True, "settings": {"epochs": 0.1}},
        ],
    }


@pytest.fixture
def run(
    plan: dict[str, Any], data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Runs benchmarks/quality.py; returns what it wrote."""
    import quality

    shutil.copytree(data_folder / "MRPC", tmp_path / "data" / "mine")
    file, found = tmp_path / "plan.yaml", tmp_path / "found.json"

    def command(*more: str) -> dict[str, Any]:
        file.write_text(yaml.safe_dump(plan))
        places = ["--plan", file, "--data-dir", tmp_path / "data", "--out", tmp_path / "out"]
        given = [*map(str, places), "--seeds", "1", "--threads", "1", "--json", str(found), *more]
        monkeypatch.setattr(sys, "argv", ["quality.py", *given])
        quality.main()
        return dict(json.loads(found.read_text())["student-quality"])

    return command


def test_speeds_are_beside_the_teacher_of_the_plan_and_of_tasks_that_are_done(
    run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import quality

    seen: dict[str, float] = {}
    costs_of = quality.costs_of

    def noted(pipeline: Any, given: dict[str, Any]) -> dict[str, float]:
        found = costs_of(pipeline, given)
        seen["teacher"] = pipeline.teacher.model.num_parameters()
        return {"16x16": 3.0 if given is not HALF and "pruning" in given else 5.0, **found}

    monkeypatch.setattr(quality, "costs_of", noted)
    entry = run("--tasks", "mine")
    assert entry["tasks"] == ["mine"] and set(entry["students"]) == {"2x", "4x"}
    assert entry["students"]["2x"]["student"] == {"pruning": "magnitude", "sparsity": 0.5}
    costs = entry["students"]["4x"]["speedup"]
    assert {"1x16", "32x16", "params"} <= costs.keys() and costs["params"] < seen["teacher"] < 1e5
    assert "| | mine | mean |" in capsys.readouterr().out


def test_what_no_run_can_have_is_refused_before_a_teacher_is_trained(
    run: Callable[..., dict[str, Any]], plan: dict[str, Any], tmp_path: Path
) -> None:
    given = plan["variants"][0]
    for changes, told in (
        ({"student": "whole"}, "no student 'whole'"),
        ({"settings": {"epoch": 1}}, "did you mean"),
    ):
        plan["variants"] = [given | changes]
        with pytest.raises(SystemExit, match=told):
            run("--tasks", "mine")
    assert not (tmp_path / "out" / "mine" / "teacher").exists()


def test_other_data_than_a_benchmark_began_with_are_refused(
    plan: dict[str, Any],
    data_folder: Path,
    teacher_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import near_a_speed
    import pruned
    import quality

    shutil.copytree(data_folder / "MRPC", tmp_path / "data" / "MRPC")
    given = {**plan, "tasks": {"mrpc": {"task": "mrpc"}}}
    places = {"data_dir": tmp_path / "data", "out": tmp_path / "out"}
    args: Any = SimpleNamespace(**places, corpus=None, threads=1, teacher=None)

    def begun(*_: Any) -> Any:
        raise KdnasError("begun")

    monkeypatch.setattr(quality.Stepwise, "teacher", property(begun))
    monkeypatch.setattr(pruned, "prepare", begun)
    monkeypatch.setattr(near_a_speed, "chosen", begun)
    words = f"--task mrpc --data-dir {tmp_path / 'data'} --out {tmp_path / 'near'} --teacher"
    monkeypatch.setattr(sys, "argv", ["near_a_speed.py", *words.split(), str(teacher_folder)])
    commands: list[tuple[Callable[[], Any], type[BaseException]]] = [
        (lambda: quality.pipeline_of("mrpc", given, args), KdnasError),
        (lambda: pruned.prepared_for(given, args, "mrpc", 0), KdnasError),
        (near_a_speed.main, SystemExit),
    ]
    for command, error in commands:
        with pytest.raises(error, match="begun"):
            command()
    rows = tmp_path / "data" / "MRPC" / "dev.tsv"
    head, *lines = rows.read_text().splitlines()
    rows.write_text("\n".join([head, *(f"{1 - int(line[0])}{line[1:]}" for line in lines)]) + "\n")
    for command, error in commands:
        with pytest.raises(error, match="the validation data changed since .* began; restore"):
            command()


def test_each_recipe_has_its_own_transfer_set_made_once(
    plan: dict[str, Any], make_run: Callable[..., Any]
) -> None:
    from quality import with_changes
    from support.stepwise import Stepwise

    pipeline = Stepwise(make_run(teacher_epochs=0.1))
    found = []
    for rows, seed in ((230, 0), (240, 0), (230, 7)):
        changes = {"transfer_rows": rows, "seed": seed, "stages": [TRANSFER]}
        by = with_changes(pipeline.settings, pipeline.data.spec, changes)
        found.append(pipeline.full_by(by).resources)
    assert found[0] is found[2] and found[0] is not found[1]


def test_pruned_students_are_of_the_teacher_and_the_recipe_of_their_type(
    plan: dict[str, Any], tmp_path: Path
) -> None:
    from pruned import settings_of

    args: Any = SimpleNamespace(data_dir=tmp_path, out=tmp_path / "out", teacher=None, threads=1)
    tasks = {"mrpc": {"task": "mrpc"}}
    settings = settings_of({**plan, "tasks": tasks}, args, "mrpc", 0)
    assert settings.teacher == plan["settings"]["teacher"]
    assert "relations" in settings.full_stages[0].losses
    assert settings_of({"tasks": tasks}, args, "mrpc", 0).teacher is None


def test_recipes_of_ones_own_tasks_have_an_entry_and_bare_ones_are_refused(
    plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import recipes

    file, out = tmp_path / "plan.yaml", tmp_path / "results.jsonl"
    file.write_text(yaml.safe_dump(plan))
    kinds = recipes.task_types(recipes.read_plan(file))
    scores = {"scores": {"accuracy": 0.5}, "selection": {"accuracy": 0.5}, "seconds": 1}
    students = {"2x": {}, "2": {}, "2 layers": {}}
    rows = [
        {"task": "mine", "variant": f"{name} logits", "student": name, "seed": 0, **scores}
        for name in students
    ]
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = {"tasks": plan["tasks"], "students": students}
    found = recipes.entry(recipes.results(out, own), kinds)
    assert {name: [*cells] for name, cells in found["mine"].items()} == {
        name: ["logits"] for name in students
    }
    assert found["mine"]["2x"]["logits"]["mean"] == 0.5
    assert recipes.entry(recipes.results(tmp_path / "nothing", own), kinds) == {"default": {}}
    places = ["--plan", str(file), "--data-dir", str(tmp_path), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["recipes.py", *places, "--recipes", "default"])
    with pytest.raises(SystemExit, match="default has no stages"):
        recipes.main()


def test_recipes_are_written_before_they_are_shown_and_without_other_plans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import recipes

    scores = {"scores": {"accuracy": 0.5}, "selection": {"accuracy": 0.5}, "agreement": 0.5}
    of_others = [("rte", "4x pkd"), ("mrpc", "4x"), ("mrpc", "4x, fine-tuned"), ("mrpc", "9x pkd")]
    own = [("mrpc", f"4x {name}") for name in ("pkd", "hidden", "logits")]
    rows = [
        {
            "task": task,
            "variant": variant,
            "student": variant[:2],
            "seed": 0,
            "seconds": 1,
            **scores,
        }
        for task, variant in (*of_others, *own)
    ]
    out, found = tmp_path / "results.jsonl", tmp_path / "found.json"
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(recipes, "run_plan", lambda *_: out)
    places = ["--data-dir", tmp_path, "--out", tmp_path, "--json", found]
    monkeypatch.setattr(sys, "argv", ["recipes.py", *map(str, places), "--table"])
    recipes.main()
    entry = json.loads(found.read_text())["recipes"]
    assert {*entry} == {"mrpc", "default"}
    assert {*entry["mrpc"]} == {"4x", "command"} and {*entry["mrpc"]["4x"]} == {
        "pkd",
        "hidden",
        "logits",
    }
    assert "3 students: none (all are equal) by their score there" in capsys.readouterr().out
    others = {"mrpc": {"2x": {}}, "mood": {"3x": {}, "command": "c"}, "default": {"tagging": "pkd"}}
    found.write_text(json.dumps({"recipes": others, "kills": {}}))
    recipes.main()
    whole = json.loads(found.read_text())
    both = {"tagging": "pkd", **entry["default"]}
    assert whole == {"kills": {}, "recipes": {**entry, "mood": others["mood"], "default": both}}
    found.unlink()

    def broken(*_: Any) -> list[str]:
        raise KdnasError("no table")

    monkeypatch.setattr(recipes, "table", broken)
    with pytest.raises(SystemExit):
        recipes.main()
    assert json.loads(found.read_text())["recipes"] == entry


def test_two_tasks_of_one_name_are_refused(plan: dict[str, Any], tmp_path: Path) -> None:
    from quality import read_plan

    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump({"tasks": {"sst2": {}, "SST-2": {}}}))
    with pytest.raises(KdnasError, match="two tasks called 'sst2'"):
        read_plan(file)
    file.write_text("settings: {}")
    with pytest.raises(KdnasError, match="names no tasks"):
        read_plan(file)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "cannot read"),
        ("tasks: {mrpc: {}", "it is not YAML"),
        ("tasks: [mrpc]", "tasks is '['mrpc']'; expected a mapping, such as tasks: {mrpc: {}}"),
        ("{tasks: {mrpc: 3}}", "mrpc of tasks is '3'; expected a mapping"),
        ("{tasks: {mrpc: {}}, students: [a]}", "students is '['a']'; expected a mapping"),
        ("{tasks: {mrpc: {}}, fixed: [mrpc]}", "fixed is '['mrpc']'; expected a mapping"),
        ("{tasks: {mrpc: {}}, speeds: 4}", "speeds is '4'; expected a list, such as"),
        ("{tasks: {mrpc: {}}, speedups: [4x]}", "speedups has '4x'; give numbers"),
        ("{tasks: {mrpc: {}}, variants: {a: {}}}", "expected a list, such as variants:"),
        ("{tasks: {mrpc: {}}, variants: [a]}", "variants has 'a'; expected a mapping with a name"),
        ("{tasks: {mrpc: {}}, variants: [{name: a}, {name: a}]}", "two variants called 'a'"),
        ("{tasks: {mrpc: {}}}", "has no variants; give some"),
        ("{tasks: {mrpc: {}}, variants: [{name: a}]}", "lacks a student: a"),
        (
            "{tasks: {mrpc: {}}, students: {s: {}}, variants: [{name: a, student: s}]}",
            "student s has no num_hidden_layers, and no pruning",
        ),
    ],
)
def test_mistakes_in_a_plan_take_one_line(
    text: str | None,
    told: str,
    plan: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import task_types

    file = tmp_path / "plan.yaml"
    if text is not None:
        file.write_text(text)
    given = ["--plan", str(file), "--data-dir", str(tmp_path), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["task_types.py", *given])
    with pytest.raises(SystemExit) as ended:
        task_types.main()
    [line] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and told in line and str(file) in line


def test_a_text_is_one_recipe_or_several(plan: dict[str, Any], tmp_path: Path) -> None:
    from plans import read_plan

    file = tmp_path / "plan.yaml"
    for text, names in (("default", ["default"]), ("pkd, relations", ["pkd", "relations"])):
        file.write_text(yaml.safe_dump({"tasks": {"mrpc": {}}, "recipes": text}))
        assert read_plan(file)["recipes"] == names


def test_every_plan_is_read(plan: dict[str, Any]) -> None:
    from plans import read_parts

    for file in BENCHMARKS.glob("*.yaml"):
        parts = read_parts(file)
        assert parts["variants"] or parts.get("tasks"), file
        assert {one.get("student") for one in parts["variants"]} <= {*parts["students"], None}


def test_students_are_scored_again_by_their_recipe(plan: dict[str, Any]) -> None:
    from fidelity import candidate_of

    student = {"architecture": HALF, "recipe": "pkd", "vocabulary": "task"}
    found = candidate_of(student)
    assert (found.recipe, found.vocabulary) == ("pkd", "task")
    assert candidate_of({"architecture": HALF}) == Candidate(found.architecture)


def test_scores_of_another_run_are_computed_anew(
    plan: dict[str, Any],
    make_run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import fidelity

    found, file, computed = tmp_path / "found.json", tmp_path / "plan.yaml", list[int]()
    file.write_text("variants: [{name: a}]")
    found.write_text('{"kills": {}}')
    students = [
        {
            **{"trial": i, "architecture": {**HALF, "intermediate_size": 8 * i + 8}},
            **{"params": i, "macs": i, "depth": i, "final": {"0": i / 10}},
        }
        for i in range(4)
    ]

    def scored(base: Any, settings: Any, missing: list[dict[str, Any]]) -> Any:
        computed.append(len(missing))
        for one in missing:
            key, loss = fidelity.candidate_of(one).key, settings.seed + one["trial"] / 10
            yield {"trial": one["trial"], "student": key, "loss": loss, "seconds": 1.0}

    def tau_of(seed: int, **changes: Any) -> float:
        run = make_run(out=tmp_path / f"run-{seed}", seed=seed, teacher_epochs=0.1)
        run.save()
        own = [{**one, **changes} for one in students]
        (run.folder / "fidelity.json").write_text(
            json.dumps({"metric": "accuracy", "students": own})
        )
        words = [str(run.folder), "--plan", str(file), "--json", str(found)]
        monkeypatch.setattr(sys, "argv", ["fidelity.py", *words])
        fidelity.main()
        whole = json.loads(found.read_text())
        assert whole["kills"] == {} and "python benchmarks/" in whole["fidelity"]["command"]
        return float(whole["fidelity"]["table"][-1]["tau"])

    monkeypatch.setattr(fidelity, "scores", scored)
    assert tau_of(0) == -1.0 and computed == [4]
    tau_of(0)
    tau_of(1)  # the same trials and settings of the variant
    tau_of(0)
    assert computed == [4, 0, 4, 0]
    tau_of(0, vocabulary="task")
    assert computed[-1] == 4
    rows = json.loads(found.read_text())["fidelity"]["rows"]
    assert [row["loss"] for row in rows[4:8]] == [1.0, 1.1, 1.2, 1.3]

    file.write_text("variants: [{name: a, budget: half}]")
    with pytest.raises(SystemExit, match=r"invalid budget 'half' \(variant 'a'\): expected a numb"):
        tau_of(0)


def test_figures_stay_where_a_plan_marks_no_student_as_final(
    run: Callable[..., dict[str, Any]], plan: dict[str, Any], tmp_path: Path
) -> None:
    for one in plan["variants"]:
        one.pop("final")
    (tmp_path / "found.json").write_text('{"student-quality": {"retention": {"4x": 0.98}}}')
    with pytest.raises(SystemExit, match="marks no variant as final, and --json is of those"):
        run("--tasks", "mine")
    assert not (tmp_path / "out").exists()
    assert "0.98" in (tmp_path / "found.json").read_text()


def test_figures_stay_where_no_final_student_is_faster(
    run: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import quality

    rows = [
        {"task": "mine", "variant": name, "student": name, "seed": 0, "seconds": 1}
        for name in ("half", "pruned")
    ]
    out = tmp_path / "results.jsonl"
    out.write_text("".join(json.dumps({**row, "scores": {"f1": 0.5}}) + "\n" for row in rows))
    teacher = tmp_path / "out" / "mine" / quality.TEACHER
    teacher.parent.mkdir(parents=True)
    teacher.write_text('{"f1": 0.0}')
    monkeypatch.setattr(quality, "run_plan", lambda *_: out)
    monkeypatch.setattr(quality, "pipeline_of", lambda *_: None)
    monkeypatch.setattr(quality, "costs_of", lambda *_: {"1x16": 1.5})
    (tmp_path / "found.json").write_text('{"student-quality": {"retention": {"4x": 0.98}}}')
    assert run() == {"retention": {"4x": 0.98}}
    monkeypatch.setattr(quality, "costs_of", lambda *_: {"1x16": 2.5})
    assert run()["retention"] == {"2x": None}


def test_what_is_kept_of_a_teacher_that_scores_0_is_not_known(
    plan: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import task_types

    students = {"2x": {"score": {0: 0.5}, "fine_tuned": {0: 0.25}}}
    figures = {"metric": "f1", "teacher": 0.0, "students": students}
    entry = task_types._entry(figures)
    assert entry["2x"] == {"score": 0.5, "fine_tuned": 0.25, "retention": None, "seeds": [0]}
    known = task_types._entry({**figures, "teacher": 1.0})
    assert known["2x"]["retention"] == 0.5
    both = task_types.merged(task_types.merged({}, {"a": entry}, "one"), {"a": known}, "two")
    assert both["a"]["plan"] == "two"
    assert task_types._table({"a": figures})[-1].endswith("| 0.5000 | 0.2500 | - |")


def test_options_of_a_search_by_another_recipe_are_left_to_it(
    plan: dict[str, Any], tmp_path: Path
) -> None:
    from seq2seq import of_one_recipe

    file = tmp_path / "own.yaml"
    file.write_text("{epochs: 2, recipe: transfer, batch_size: 8, trials: 3}")
    assert of_one_recipe([file]) == {"batch_size": 8}


def test_each_speed_of_translations_has_the_teacher_of_its_own(
    plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import seq2seq

    docs = json.loads((BENCHMARKS.parent / "docs" / "results.json").read_text(encoding="utf-8"))
    published = docs["seq2seq"]
    assert (published["split"], published["decoding"]) == ("validation", "greedy")
    kept = [published[at]["bleu"] / published[at]["teacher_bleu"] for at in ("3.5x", "4x")]
    assert kept == pytest.approx([0.945, 0.974], abs=5e-4)
    assert published["teacher_bleu"] == published["4x"]["teacher_bleu"]

    file = tmp_path / "found.json"
    file.write_text(json.dumps(docs))
    figures = {"bleu": 37.0, "architecture": "6+2x256", "speedup": 2.1, "params": 1}
    monkeypatch.setattr(seq2seq, "_searched", lambda *_: {seq2seq.TEACHER: 0, seq2seq.STUDENT: 0})
    monkeypatch.setattr(seq2seq, "_figures", lambda *_: figures)
    words = ["--teacher", "T", "--data-dir", "D", "--out", "O", "--speeds", "2"]
    monkeypatch.setattr(sys, "argv", ["seq2seq.py", *words, "--json", str(file)])
    seq2seq.main()
    found = json.loads(file.read_text())["seq2seq"]
    assert found["2x"]["teacher_bleu"] == 37.0
    assert found["4x"] == published["4x"] and found["3.5x"] == published["3.5x"]


def test_an_entry_of_translations_names_each_control_by_its_key(plan: dict[str, Any]) -> None:
    from seq2seq import BY_HAND, REFERENCES, STUDENT, TEACHER, TEXTS, entry

    scores = {TEACHER: 37.0, STUDENT: 36.5, REFERENCES: 33.0, TEXTS: 35.0, BY_HAND: 36.0}
    models = {
        name: {"bleu": score, "architecture": "6+2x256", "speedup": 2.1}
        for name, score in scores.items()
    }
    found = entry({"2x": models})
    assert found["teacher_bleu"] == 37.0
    at_2x = {key: value for key, value in found["2x"].items() if key != "models"}
    assert at_2x == {
        "bleu": 36.5,
        "references_only": 33.0,
        "sequence_level_only": 35.0,
        "hand_picked": 36.0,
        "architecture": "6+2x256",
        "speedup": 2.1,
    }
