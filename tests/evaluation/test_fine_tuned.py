"""Checkpoints that are fine-tuned before they are scored: grid, seeds, what is kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean, stdev
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.tiny_writers import save_writer
from transformers import AutoModelForSequenceClassification

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.evaluation import tuning
from kdnas.evaluation.closing import closing_lines
from kdnas.evaluation.data import Subject, prepare, read_train
from kdnas.evaluation.evaluate import evaluate
from kdnas.evaluation.tuning import Point, Tuner, fresh, metrics_line, plan, point_lines
from kdnas.files.artifact import json_artifact
from kdnas.runtime.device import Runtime
from kdnas.tasks import EncodedExamples, TaskSpec, load_spec
from kdnas.tasks.metrics import scored_by
from kdnas.teachers.load import load_tokenizer

HERE = {"device": "cpu", "precision": "fp32", "threads": 1}


def run(model: Path, task: str, data: Path, out: Path, **given: Any) -> dict[str, Any]:
    """An evaluation of one epoch a point."""
    options = {"epochs": 1.0, "batch_sizes": "8", **HERE, **given}
    return evaluate(model, task, data_dir=data, out=out, **options)


@pytest.fixture(scope="module")
def finished(
    teacher_folder: Path, glue_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """RTE and STS-B, two learning rates, three seeds."""
    out = tmp_path_factory.mktemp("evaluated") / "out"
    result = run(
        *(teacher_folder, "rte,stsb", glue_folder, out),
        **{"lrs": "1e-4,1e-3", "seeds": 3, "predictions": out.parent / "predictions"},
    )
    return out, result


@pytest.mark.slow
def test_the_best_point_is_repeated_with_other_seeds(finished: tuple[Path, Any]) -> None:
    out, result = finished
    for name, task in result["tasks"].items():
        points = {path.stem: json.loads(path.read_text()) for path in (out / name).glob("lr*.json")}
        assert len(points) == 2 + 2
        grid = {lr: fmean(points[f"lr{lr:g}-batch8-epochs1-seed0"].values()) for lr in (1e-4, 1e-3)}
        assert task["best"]["lr"] == max(grid, key=grid.__getitem__)
        assert set(task["seeds"]) == {0, 1, 2} and task["grid_points"] == 2
        for metric, mean in task["scores"].items():
            values = [scores[metric] for scores in task["seeds"].values()]
            assert mean == pytest.approx(fmean(values))
            assert task["spread"][metric] == pytest.approx(stdev(values))
    rte, stsb = result["tasks"]["rte"], result["tasks"]["stsb"]
    assert stsb["score"] == pytest.approx(fmean(stsb["scores"][m] for m in ("pearson", "spearman")))
    assert result["mean"] == pytest.approx((rte["score"] + stsb["score"]) / 2)
    assert len(set(map(str, stsb["seeds"].values()))) == 3, "seeds should differ"


def test_the_lines_say_how(finished: tuple[Path, Any]) -> None:
    text = "\n".join(closing_lines(finished[1]))
    assert "GLUE mean" in text and "over 2 tasks: rte, stsb" in text
    assert "batch 8, 1 epoch; best of 2 points; 3 seeds ± std" in text
    told = [line for line in text.split("\n") if not line.startswith("wrote ")]
    assert max(map(len, told)) <= 80
    assert "chosen on the validation splits that are scored" in text


def test_the_best_checkpoint_is_kept_and_gives_the_predictions(
    finished: tuple[Path, Any], glue_folder: Path
) -> None:
    out, result = finished
    best = max(fmean(scores.values()) for scores in result["tasks"]["rte"]["seeds"].values())
    model = out / "rte" / "model"
    found = evaluate(model, "rte", data_dir=glue_folder, fine_tune=False, **HERE)
    assert found["tasks"]["rte"]["scores"]["accuracy"] >= best - 1e-9
    assert AutoModelForSequenceClassification.from_pretrained(model).config.id2label == {
        0: "entailment",
        1: "not_entailment",
    }
    files = {path.name for path in (out.parent / "predictions").iterdir()}
    assert files == {"RTE.tsv", "STS-B.tsv"}


def test_the_rows_of_an_interval_are_those_of_its_split() -> None:
    ends = {"accuracy_matched": (0.81, 0.83), "accuracy_mismatched": (0.82, 0.84)}
    task = {
        "scores": dict.fromkeys(ends, 0.82),
        "intervals": ends,
        "rows": {"validation_matched": 9815, "validation_mismatched": 9832},
        **{"baseline": None, "tuned": False, "held_out": False},
    }
    lines = closing_lines({"tasks": {"mnli": task}, "predictions": []})
    told = " ".join(" ".join(lines).split())
    assert (
        "n = 9,815 in validation_matched; 95% intervals: accuracy_matched 0.810 to 0.830 "
        "n = 9,832 in validation_mismatched; 95% intervals: accuracy_mismatched 0.820 to 0.840"
    ) in told
    assert max(map(len, lines)) <= 80
    alone = {**task, "rows": {"validation": 872}, "intervals": {"f1 (spam)": (0.8, 0.9)}}
    lines = closing_lines({"tasks": {"sms": alone}, "predictions": []})
    assert any(line.endswith("n = 872; 95% intervals: f1 (spam) 0.800 to 0.900") for line in lines)
    small = {**alone, "scores": {"mae": 3.12e-5}, "intervals": {"mae": (2.9e-5, 3.4e-5)}}
    lines = closing_lines({"tasks": {"drift": small}, "predictions": []})
    assert any(line.endswith("95% intervals: mae 2.9e-05 to 3.4e-05") for line in lines)


@pytest.mark.slow
def test_a_stopped_evaluation_goes_on_where_it_stopped(
    finished: tuple[Path, Any],
    teacher_folder: Path,
    glue_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, calls, real = tmp_path / "out", [], tuning.fine_tune

    def stops(*given: Any) -> None:
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(*given)

    given = (teacher_folder, "rte,stsb", glue_folder, out)
    options = {"lrs": "1e-4,1e-3", "seeds": 3}
    monkeypatch.setattr(tuning, "fine_tune", stops)
    with pytest.raises(KeyboardInterrupt):
        run(*given, **options)
    assert run(*given, **options)["tasks"] == finished[1]["tasks"]
    assert len(calls) == 8 + 1, "the two finished points are not trained again"
    shutil.rmtree(out / "rte" / "model")
    run(*given, **options, predictions=tmp_path / "predictions")
    assert len(calls) == 8 + 2, "only the best one is, for its predictions"


@pytest.mark.slow
def test_new_data_are_a_new_evaluation(
    teacher_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(data_folder, data)
    given = (teacher_folder, "mrpc", data, tmp_path / "out")
    first = run(*given, epochs=0.3)
    assert first["tasks"]["mrpc"]["tuned"], "the teacher has no head"
    file = data / "MRPC" / "dev.tsv"
    file.write_text("\n".join(file.read_text().splitlines()[:21]) + "\n")
    assert run(*given, epochs=0.3)["tasks"]["mrpc"]["rows"] == {"validation": 20}


@pytest.mark.slow
def test_a_diverged_point_does_not_count(
    teacher_folder: Path, glue_folder: Path, tmp_path: Path
) -> None:
    found = run(teacher_folder, "wnli", glue_folder, tmp_path / "a", lrs="1e38,1e-4", epochs=3)
    assert found["tasks"]["wnli"]["best"]["lr"] == 1e-4
    assert found["tasks"]["wnli"]["diverged"] == ["lr 1e+38, batch 8, seed 0"]
    with pytest.raises(KdnasError, match="every fine-tuning diverged"):
        run(teacher_folder, "wnli", glue_folder, tmp_path / "b", lrs="1e38", epochs=3)


def test_a_fine_tuned_checkpoint_begins_with_a_fresh_head(
    finished: tuple[Path, Any], glue_folder: Path
) -> None:
    model = finished[0] / "rte" / "model"
    settings = Settings(task="rte", data_dir=glue_folder)
    new = fresh(prepare(str(model), load_spec("rte"), settings, True), 0).model
    kept = AutoModelForSequenceClassification.from_pretrained(model)
    assert not new.classifier.weight.equal(kept.classifier.weight)
    ours, theirs = new.base_model.state_dict(), kept.base_model.state_dict()
    assert all(ours[name].equal(theirs[name]) for name in theirs)


def test_classes_are_weighed_where_a_config_asks_for_it(
    teacher_folder: Path, glue_folder: Path, runtime: Runtime, tmp_path: Path
) -> None:
    keys = []
    for asked in ("none", "balanced"):
        settings = Settings(task="rte", data_dir=glue_folder, class_weights=asked)
        subject = prepare(str(teacher_folder), load_spec("rte"), settings, True)
        train = read_train(subject, settings)
        assert (train.class_weights is None) == (asked == "none")
        [point] = plan(settings)
        keys.append(Tuner(subject, train, runtime, tmp_path)._key(point))
    assert keys[0] != keys[1]
    with pytest.raises(
        KdnasError, match="invalid --class-weights balanced: task 'stsb' is of type"
    ):
        read_train(prepare(str(teacher_folder), load_spec("stsb"), settings, True), settings)


def test_another_way_of_writing_is_scored_anew_not_trained(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, out, trained = save_writer(tmp_path / "bart"), tmp_path / "out", []
    file, spec = place / "generation_config.json", load_spec("multi30k")
    tokenizer: Any = load_tokenizer(str(place))
    train = EncodedExamples(np.array([5], np.int32), None, np.array([0, 1]), np.array([5]))
    subject = Subject(str(place), spec, {}, tokenizer, None, 32, {}, tuned=True, held_out=False)
    [point] = plan(Settings(task="multi30k"))

    def score(model: Any, *_: Any) -> dict[str, float]:
        return {"bleu": model.generation_config.num_beams / 10}

    monkeypatch.setattr(tuning, "fine_tune", lambda *given: trained.append(given))
    monkeypatch.setattr(tuning, "evaluate_model", score)
    monkeypatch.setattr(tuning, "scored_by", lambda *_: {"metrics": ["bleu"]})
    monkeypatch.setattr(tuning, "task_score", lambda _, scores: scores["bleu"])
    monkeypatch.setattr(Subject, "pad_id", 0)

    def tune(beams: int) -> tuple[str, float]:
        file.write_text(json.dumps({**json.loads(file.read_text()), "num_beams": beams}))
        [outcome] = Tuner(subject, train, runtime, out).tune([point], 1)
        return outcome.key, outcome.scores["bleu"]

    key, first = tune(1)
    assert first == 0.1 and tune(1) == (key, 0.1) and len(trained) == 1
    assert tune(3) == (key, 0.3) and len(trained) == 1
    assert json.loads((out / "model" / file.name).read_text())["num_beams"] == 3
    [record] = out.glob("lr*.json")
    json_artifact(record, {"fine-tuning": key}).write({"bleu": 0.5})  # as of earlier versions
    assert tune(2) == (key, 0.5), "counts as that of models that write as now"
    assert tune(4) == (key, 0.4) and len(trained) == 1


@pytest.mark.parametrize("questions", [1, 2, 3])
def test_a_threshold_is_chosen_on_other_questions(
    questions: int, runtime: Runtime, tmp_path: Path
) -> None:
    rows = np.repeat(np.arange(questions), 4)
    ids, offsets = np.arange(len(rows), dtype=np.int32), np.arange(len(rows) + 1)
    train = EncodedExamples(ids, None, offsets, task_type="question-answering", rows=rows)
    subject = Subject("", load_spec("squad"), {}, None, None, 32, {}, tuned=True, held_out=False)
    tuner = Tuner(subject, train, runtime, tmp_path)
    if questions == 1:
        with pytest.raises(KdnasError, match="found 1 training example, and one must be held out"):
            tuner._split()
        return
    own, apart = tuner._split()
    assert len(apart) == 4 and len(own) == 4 * (questions - 1)


def test_small_errors_have_digits() -> None:
    assert metrics_line({"pearson": 0.81234, "mae": 0.000123}, {"mae": 0.0}) == (
        "pearson 0.8123  mae 0.00012 ± 0.0000"
    )


def test_a_fine_tunings_line_fits_or_becomes_two() -> None:
    label = "lr 0.0001, batch 8, seed 0"
    (line,) = point_lines("rte 1/3", label, metrics_line({"accuracy": 0.7}), "12 s")
    assert line == f"  rte 1/3: {label}: accuracy 0.7000 (12 s)"
    scores = {"accuracy_matched": 0.8, "accuracy_mismatched": 0.81}
    lines = point_lines("mnli 1/3", label, metrics_line(scores), "from an earlier evaluation")
    assert len(lines) == 2 and max(map(len, lines)) <= 80
    assert lines[1].split() == ["accuracy_matched", "0.8000", "accuracy_mismatched", "0.8100"]


def test_fine_tunings_are_planned_and_a_dry_run_stops_there(
    teacher_folder: Path, glue_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (teacher_folder, "rte,stsb", glue_folder, tmp_path / "out")
    planned = run(*given, seeds=3, lrs="1e-4,1e-3", dry_run=True)
    assert [step["name"] for step in planned["steps"]] == ["rte", "stsb"]
    assert planned["seconds"] > 0 and planned["disk"]["needed"] > 0
    assert planned["rows"]["rte"].keys() == {"train", "validation"}
    told = "\n".join(planned["lines"])
    assert "plan: 2 steps, about " in told and "1 rte: 4 fine-tunings " in told
    assert not (tmp_path / "out").exists()
    capsys.readouterr()
    run(*given[:1], "rte", *given[2:])
    said = capsys.readouterr().out
    assert "step 1 of 1: rte: 1 fine-tuning (about " in said and "\ndone in " in said


def test_a_dry_run_without_fine_tunings_says_what_is_scored(
    finished_run: Path, data_folder: Path
) -> None:
    student = finished_run / "student"
    planned = evaluate(student, "mrpc", data_dir=data_folder, dry_run=True, **HERE)
    lines = ["plan: score the checkpoint as it is", "  mrpc       40 validation rows"]
    assert planned["lines"] == lines and planned["steps"] == [] and planned["disk"] is None


def test_scores_of_other_metrics_are_computed_and_known_ones_read(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, kept = [], SimpleNamespace(done=lambda: False, write=lambda _: None)
    monkeypatch.setattr(Tuner, "_key", lambda *_: "key")
    monkeypatch.setattr(Tuner, "_kept", lambda *_: kept)
    monkeypatch.setattr(Subject, "pad_id", 0)

    def train(*given: Any) -> Any:
        trained.append(given)
        return SimpleNamespace(model=None)

    def score(_: Any, splits: Any, spec: TaskSpec, *__: Any) -> dict[str, float]:
        return dict.fromkeys(scored_by(spec, splits)["metrics"], 0.5)

    monkeypatch.setattr(Tuner, "_fine_tuned", train)
    monkeypatch.setattr(tuning, "evaluate_model", score)
    none: Any = None
    [point] = plan(Settings(task="t"))

    def take(*metrics: str, **entry: Any) -> list[str]:
        spec = TaskSpec.model_validate(
            {"name": "t", "text": "text", "labels": ["ham", "spam"], "metrics": metrics, **entry}
        )
        splits = {"validation": none}
        subject = Subject("", spec, splits, none, none, 32, {}, tuned=True, held_out=False)
        return [*Tuner(subject, none, runtime, tmp_path)._take(point, 1).scores]

    [file] = [take("accuracy"), *tmp_path.glob("lr*.json")][1:]
    json_artifact(file, {"fine-tuning": "key"}).write({"accuracy": 0.5})  # as of earlier versions
    assert take("accuracy") == ["accuracy"] and len(trained) == 1
    assert take("accuracy", "mcc", "f1") == ["accuracy", "mcc", "f1 (spam)"] and len(trained) == 2
    assert take("mcc") == ["mcc"] and take("f1", "mcc") == ["f1 (spam)", "mcc"]
    assert len(trained) == 2, "what is known is read"
    assert take("f1", positive="ham") == ["f1 (ham)"] and len(trained) == 3


def test_a_checkpoint_is_scored_by_other_metrics_before_another_takes_its_place(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none: Any = None
    low, high = plan(Settings(task="t"), lrs="1e-4,1e-3")
    other = replace(high, seed=1)
    totals = {
        "accuracy": {low: 0.5, replace(low, seed=1): 0.5, high: 0.6, other: 0.7},
        "mcc": {low: 0.2, replace(low, seed=1): 0.4, high: 0.3, other: 0.3},
        "f1 (spam)": {low: 0.3, replace(low, seed=1): 0.2, high: 0.1, other: 0.9},
    }
    trained: list[Point] = []

    def train(self: Tuner, point: Point, key: str) -> Any:
        trained.append(point)
        return SimpleNamespace(model=asdict(point))

    def score(model: Any, splits: Any, spec: TaskSpec, *_: Any) -> dict[str, float]:
        return {name: totals[name][Point(**model)] for name in scored_by(spec, splits)["metrics"]}

    def kept(self: Tuner, point: Point, key: str) -> Any:
        return json_artifact(tmp_path / "model", {"point": asdict(point), "key": key})

    monkeypatch.setattr(Tuner, "_key", lambda _, point: str(point))
    monkeypatch.setattr(Tuner, "_kept", kept)
    monkeypatch.setattr(Tuner, "_fine_tuned", train)
    monkeypatch.setattr(Subject, "pad_id", 0)
    monkeypatch.setattr(tuning, "evaluate_model", score)
    monkeypatch.setattr(tuning, "load_student", lambda path: json.loads(path.read_text()))

    def tune(metric: str, seeds: int) -> tuple[list[Point], Point]:
        """What is trained, and whose checkpoint is there in the end."""
        trained.clear()
        spec = TaskSpec.model_validate(
            {"name": "t", "text": "text", "labels": ["ham", "spam"], "metrics": [metric]}
        )
        splits = {"validation": none}
        subject = Subject("", spec, splits, none, none, 32, {}, tuned=True, held_out=False)
        tuner = Tuner(subject, none, runtime, tmp_path)
        tuner.tune([low, high], seeds)
        found = Point(**json.loads((tmp_path / "model").read_text()))
        assert max(tuner.done, key=lambda one: one.total).point == found
        return [*trained], found

    assert tune("accuracy", 1) == ([low, high], high)
    monkeypatch.setattr(Tuner, "_fine_tuned", lambda *_: 1 / 0)  # a kill in the first training
    with pytest.raises(ZeroDivisionError):
        tune("mcc", 1)
    assert json.loads((tmp_path / "model").read_text()) == asdict(high)
    monkeypatch.setattr(Tuner, "_fine_tuned", train)
    assert tune("mcc", 1) == ([low], high), "the best one is not trained again"
    assert tune("accuracy", 2) == ([low, other], other)
    # The further seed of a point that is no longer the best leaves its place.
    assert tune("f1", 2) == ([high, low, replace(low, seed=1)], low)
    assert tune("mcc", 2) == ([high, other], high)
    assert tune("accuracy", 2) == ([low, other], other)
    assert tune("mcc", 2) == ([high, low], high), "the further seed is scored, not trained"
