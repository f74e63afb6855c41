"""Errors and output of `kdnas evaluate`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from conftest import kdnas
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.evaluation.data import find_tasks
from kdnas.evaluation.early import check_tasks
from kdnas.evaluation.evaluate import _settings_of, claimed, evaluate
from kdnas.evaluation.tuning import GRID_BATCH_SIZES, GRID_LRS, plan
from kdnas.students.checkpoint import student_artifact
from kdnas.tasks import load_specs


def names(task: str, data: Path, **given: Any) -> list[str]:
    settings = Settings(task=task, data_dir=data)
    return [spec.name for spec in find_tasks(settings, given.get("tuned"), False)]


def test_all_leaves_out_what_has_no_data(
    data_folder: Path, glue_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(names("all", glue_folder)) == 9
    assert names("all", data_folder) == ["mrpc"]
    assert "left out, no data for cola, sst2, stsb, qqp" in capsys.readouterr().out


def test_named_tasks_must_have_data(data_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(KdnasError, match="no data for cola, rte: .* has no folder for task 'cola'"):
        names("mrpc,cola,rte", data_folder)
    with pytest.raises(KdnasError, match="unknown task 'mprc'; did you mean mrpc"):
        names("mprc,rte", data_folder)
    (tmp_path / "RTE").mkdir()
    (tmp_path / "RTE" / "dev.tsv").write_text("sentence1\tsentence2\tlabel\na\tb\tentailment\n")
    assert names("rte", tmp_path) == ["rte"]
    with pytest.raises(KdnasError, match="no train file for task 'rte'"):
        names("rte", tmp_path, tuned=True)
    with pytest.raises(KdnasError, match="--task is missing"):
        find_tasks(Settings(), None, False)


def test_two_tasks_of_one_name_are_refused(tmp_path: Path) -> None:
    files = [tmp_path / name / "task.yaml" for name in ("a", "b")]
    for file, label in zip(files, ("x", "y"), strict=True):
        file.parent.mkdir()
        file.write_text(f"text: text\nlabel: {label}\n")
    both = ",".join(map(str, files))
    told = f"--task: {files[0]} and {files[1]} are both called 'task'; give one of them another"
    for check in (check_tasks, lambda given: find_tasks(given, None, False)):
        with pytest.raises(KdnasError) as caught:
            check(Settings(task=both))
        assert str(caught.value) == f"{told} `name:`"
    assert load_specs(["mrpc", "MRPC"], None, "--task").keys() == {"mrpc"}


def test_the_grid_and_its_parts() -> None:
    whole = plan(Settings(), grid=True, seeds=5)
    assert [(p.lr, p.batch_size) for p in whole] == list(product(GRID_LRS, GRID_BATCH_SIZES))
    assert {p.seed for p in whole} == {0}
    part = plan(Settings(seed=7), grid=True, lrs="1e-4", epochs=4)
    assert [(p.lr, p.epochs, p.seed) for p in part] == [(1e-4, 4, 7)] * 5
    plain = plan(Settings(), batch_sizes="8,16")
    assert [(p.batch_size, p.epochs) for p in plain] == [(8, 3), (16, 3)]
    for wrong in (
        {"lrs": "fast"},
        {"batch_sizes": "8,0"},
        {"lrs": ""},
        {"epochs": 0.0},
        {"seeds": 0},
        {"seeds": 1.5},
    ):
        with pytest.raises(KdnasError, match="invalid --(lrs|batch-sizes|epochs|seeds)"):
            plan(Settings(), **wrong)  # type: ignore[arg-type]


def test_a_folder_is_one_models(tmp_path: Path) -> None:
    out, refused = tmp_path / "out", pytest.raises(KdnasError, match="another process evaluates")
    with claimed(out, "bert"), refused, claimed(out, "bert"):
        pass
    with pytest.raises(KdnasError, match="holds the evaluation of 'bert'"):
        claimed(tmp_path / "out", "roberta").__enter__()
    (tmp_path / "note").write_text("mine")
    with pytest.raises(KdnasError, match="is not empty and holds no evaluation"):
        claimed(tmp_path, "bert").__enter__()


def test_a_checkpoint_without_a_head_is_not_scored_as_it_is(
    teacher_folder: Path, glue_folder: Path
) -> None:
    with pytest.raises(KdnasError, match="no head with 3 output.* leave out --no-fine-tune"):
        evaluate(teacher_folder, "mnli", data_dir=glue_folder, fine_tune=False)


def test_the_refusal_of_a_checkpoint_says_what_it_has_in_place_of_a_head(
    teacher_folder: Path, glue_folder: Path, make_classifier: Callable[..., Path]
) -> None:
    instead = "; give a checkpoint that was fine-tuned for it; kdnas evaluate fine-tunes this one"
    for model, has in (
        (teacher_folder, "it was saved as Bert"),
        (make_classifier(("0", "1")), r"its head has 2\)"),
    ):
        with pytest.raises(KdnasError, match=rf"for task 'mnli' \({has}.*{instead}"):
            evaluate(model, "mnli", data_dir=glue_folder, fine_tune=False)


@pytest.mark.parametrize(
    "options", [{"grid": True}, {"lrs": "1e-4"}, {"epochs": 1.0}, {"seeds": 4}]
)
def test_what_is_not_fine_tuned_has_no_grid(teacher_folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(KdnasError, match="--no-fine-tune and --[a-z]+ contradict each other"):
        evaluate(teacher_folder, "mrpc", fine_tune=False, **options)


@pytest.mark.parametrize("options", [{"grid": True}, {"lrs": [1e-3]}, {"epochs": 2}, {"seeds": 5}])
def test_a_grid_for_what_is_scored_as_it_is_is_refused(
    glue_folder: Path, make_classifier: Callable[..., Path], options: dict[str, Any]
) -> None:
    model = make_classifier(("0", "1"))
    told = "--[a-z]+ is for fine-tuning, and '.*' has a head for task 'sst2': give --fine-tune"
    with pytest.raises(KdnasError, match=told):
        evaluate(model, "sst2", data_dir=glue_folder, **options)


def test_a_head_without_weights_is_not_scored(
    make_teacher: Callable[..., Path], data_folder: Path
) -> None:
    folder = make_teacher(num_labels=2)
    file = folder / "config.json"
    found = {"architectures": ["BertForSequenceClassification"]}
    file.write_text(json.dumps({**json.loads(file.read_text()), **found}))
    with pytest.raises(KdnasError, match="lacks weights of the head that its config describes"):
        evaluate(folder, "mrpc", data_dir=data_folder)


def test_a_head_of_another_task_is_not_scored_without_a_flag(
    glue_folder: Path, make_classifier: Callable[..., Path]
) -> None:
    model = make_classifier(("joy", "anger"))
    called = (
        "are called joy, anger, the classes of task 'sst2' negative, positive; give --fine-tune"
    )
    with pytest.raises(KdnasError, match=called):
        evaluate(model, "sst2", data_dir=glue_folder)
    taken = evaluate(model, "sst2", data_dir=glue_folder, fine_tune=False)
    assert list(taken["tasks"]["sst2"]["scores"]) == ["accuracy"]


def test_a_label_map_says_which_output_is_which_label(
    glue_folder: Path,
    make_classifier: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def accuracy(model: Path, **options: Any) -> float:
        found = evaluate(model, "sst2", data_dir=glue_folder, **options)
        return float(found["tasks"]["sst2"]["scores"]["accuracy"])

    model, config = make_classifier(("joy", "anger")), tmp_path / "sst2.yaml"
    config.write_text("label_map: anger,joy\n")
    plain = accuracy(model, label_map="joy,anger")
    assert accuracy(model, config=config) == pytest.approx(1 - plain) != plain
    with pytest.raises(KdnasError, match="expected the outputs of .*: joy, anger"):
        accuracy(model, label_map="joy,joy")
    student = make_classifier(("negative", "positive"))
    file = student / "config.json"
    saved = {**json.loads(file.read_text()), "kdnas_task_type": "classification"}
    file.write_text(json.dumps(saved))
    own = accuracy(student)
    assert accuracy(student, label_map="1,0") == own
    told = f"--label-map is left out for {student}: its outputs have the names of the labels"
    assert told in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_prints_json_alone_and_writes_no_folder(
    glue_folder: Path, make_classifier: Callable[..., Path], tmp_path: Path
) -> None:
    model = make_classifier(("0", "1"))
    done = kdnas("evaluate", model, "--task", "sst2", "--data-dir", glue_folder, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["tasks"]["sst2"]
    assert list(found["scores"]) == ["accuracy"] and found["rows"] == {"validation": 30}


def save_student(folder: Path, checkpoint: Path) -> None:
    """A checkpoint as a run has its student."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    student_artifact(folder, {"trial": 1}, tokenizer).write(model)


def test_a_run_stands_for_its_student(
    glue_folder: Path, make_classifier: Callable[..., Path], tmp_path: Path
) -> None:
    save_student(tmp_path / "run" / "student", make_classifier(("0", "1")))
    with pytest.raises(KdnasError, match="no config.json"):
        evaluate(tmp_path / "run", "sst2", data_dir=glue_folder)
    (tmp_path / "run" / "config.yaml").touch()
    found = evaluate(tmp_path / "run", "sst2", data_dir=glue_folder)
    assert found["model"] == str(tmp_path / "run" / "student")
    (tmp_path / "run" / "student").rename(tmp_path / "elsewhere")
    with pytest.raises(KdnasError, match="does not exist yet; make it with `kdnas resume"):
        evaluate(tmp_path / "run", "sst2", data_dir=glue_folder)


def test_a_run_is_scored_on_its_own_task(
    glue_folder: Path, make_classifier: Callable[..., Path], tmp_path: Path
) -> None:
    save_student(tmp_path / "student", make_classifier(("0", "1")))
    (tmp_path / "config.yaml").write_text(f"task: sst2\ndata_dir: {glue_folder}\n")
    found = evaluate(tmp_path)["tasks"]
    assert list(found) == ["sst2"] and found["sst2"]["rows"] == {"validation": 30}
    with pytest.raises(KdnasError, match="no folder for task 'sst2'"):
        evaluate(tmp_path, data_dir=tmp_path)


def test_a_run_of_the_hub_is_scored_on_its_data_in_any_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, others = tmp_path / "run", str(tmp_path / "others")
    (run / "student").mkdir(parents=True)
    (run / "student" / "config.json").write_text("{}")
    (run / "config.yaml").write_text("task: mrpc\n")
    Path(others).mkdir()

    def data_of(model: Path, **given: Any) -> str | None:
        found = _settings_of(model, None, given).data_dir
        return None if found is None else str(found)

    monkeypatch.setenv("KDNAS_DATA_DIR", others)
    assert data_of(run) is data_of(run, task="mrpc") is None
    assert data_of(run, data_dir=others) == data_of(run, task="rte") == others
    assert data_of(run / "student", task="mrpc") == others


def test_a_damaged_student_is_not_scored(
    glue_folder: Path, make_classifier: Callable[..., Path], tmp_path: Path
) -> None:
    student = tmp_path / "run" / "student"
    save_student(student, make_classifier(("0", "1")))
    (tmp_path / "run" / "config.yaml").write_text(f"task: sst2\ndata_dir: {glue_folder}\n")
    file = student / "config.json"
    file.write_text(file.read_text().replace('"0"', '"1"'))
    with pytest.raises(
        KdnasError, match=r"config.json is damaged.*kdnas.json; make the student ag"
    ):
        evaluate(tmp_path / "run")
    with pytest.raises(KdnasError, match=r"config.json is damaged.*kdnas.json; make or copy"):
        evaluate(student, "sst2", data_dir=glue_folder)


def test_a_sample_is_scored_as_a_run_s_report_has_it(
    glue_folder: Path, make_classifier: Callable[..., Path], tmp_path: Path
) -> None:
    """With `max_eval_rows` of the call, of a YAML file however it is given, and of the run."""
    model, given = make_classifier(("0", "1")), {"task": "sst2", "data_dir": glue_folder}
    (tmp_path / "few.yaml").write_text("max_eval_rows: 20\n")
    files = [str(tmp_path / "few.yaml"), tmp_path / "few.yaml", [tmp_path / "few.yaml"]]
    options = [{"max_eval_rows": 20}, *({"config": file} for file in files)]
    found = [evaluate(model, **given, **one)["tasks"]["sst2"] for one in options]
    assert all(one["rows"] == {"validation": 20} for one in found)
    assert all(one["scores"] == found[0]["scores"] for one in found)
    save_student(tmp_path / "student", model)
    run = f"task: sst2\ndata_dir: {glue_folder}\nmax_eval_rows: 20\n"
    (tmp_path / "config.yaml").write_text(run)
    of_run = evaluate(tmp_path)["tasks"]["sst2"]
    assert of_run["rows"] == {"validation": 20} and of_run["scores"] == found[0]["scores"]


def test_the_hub_is_not_asked_nine_times_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fails(path: str, name: str, **_: Any) -> None:
        asked.append(name)
        raise ConnectionError("no network")

    monkeypatch.setattr("datasets.load_dataset", fails)
    with pytest.raises(KdnasError, match="no data for cola, sst2.*no network.*--data-dir"):
        find_tasks(Settings(task="all"), None, False)
    assert asked == ["cola"]


def test_rows_that_are_left_out_are_told(
    make_classifier: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_classifier(("ham", "spam"))
    (tmp_path / "dev.csv").write_text("text,label\nthe good cat,ham\nthe dog,spam\n,ham\na cat,?\n")
    yaml = tmp_path / "mail.yaml"
    yaml.write_text(
        f"data_dir: {tmp_path}\ntasks: {{mail: {{text: text, labels: [ham, spam], metrics: f1, "
        "unlabelled: '?'}}\n"
    )
    given: dict[str, Any] = {"config": [yaml], "device": "cpu"}
    with pytest.raises(KdnasError, match="2 of 4 lines cannot be used: line 4 has no text under"):
        evaluate(model, "mail", **given)
    found = evaluate(model, "mail", skip_malformed=True, **given)
    said = capsys.readouterr().out
    assert (
        "dev.csv: left out 2 of 4 lines: line 4 has no text under 'text'; line 5 has no l" in said
    )
    assert list(found["tasks"]["mail"]["scores"]) == ["f1 (spam)"]
    assert found["tasks"]["mail"]["rows"] == {"validation": 2}


def test_the_test_split_is_scored_where_it_has_labels(
    glue_folder: Path, make_classifier: Callable[..., Path], tmp_path: Path
) -> None:
    model, data = make_classifier(("0", "1")), tmp_path / "glue"
    shutil.copytree(glue_folder / "SST-2", data / "SST-2")
    whole = (data / "SST-2" / "dev.tsv").read_text().splitlines()
    (data / "SST-2" / "test.tsv").write_text("\n".join(whole[:11]))
    found = evaluate(model, "sst2", data_dir=data, split="test")["tasks"]["sst2"]
    assert found["rows"] == {"test": 10} and list(found["scores"]) == ["accuracy"]
    (data / "SST-2" / "dev.tsv").write_text("\n".join(whole[:11]))
    assert evaluate(model, "sst2", data_dir=data)["tasks"]["sst2"]["scores"] == found["scores"]
    (data / "SST-2" / "test.tsv").unlink()
    with pytest.raises(KdnasError, match="no test file for task 'sst2'"):
        evaluate(model, "sst2", data_dir=data, split="test")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"split": "dev"}, "invalid --split dev: expected validation or test"),
        ({"split": "test", "fine_tune": True}, "chosen on the test split"),
        ({"split": "test", "grid": True}, "--split test and --grid contradict each other"),
        ({"split": "test", "predictions": "sent"}, "--split test and --predictions contradict"),
    ],
)
def test_nothing_is_chosen_on_the_test_split(
    teacher_folder: Path, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(KdnasError, match=match):
        evaluate(teacher_folder, "mrpc", **options)
