"""What is refused before torch is loaded, and in which words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.evaluation.early import check_model, check_tasks
from kdnas.files.checkpoints import check_checkpoint, is_local
from kdnas.runs.run_folder import Run
from kdnas.tasks import TaskData
from kdnas.workflow.preparing import early
from kdnas.workflow.preparing.early import (
    check_choice,
    check_settings,
    open_to_resume,
    task_data,
)

WITHOUT_TORCH = """
import sys
import kdnas.cli.app, kdnas.workflow.preparing.early, kdnas.runs.run_folder, kdnas.files.checkpoints
large = ("torch", "transformers", "accelerate", "optuna", "pandas")
print([name for name in large if name in sys.modules])
"""


def test_nothing_large_is_imported_to_refuse() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], check=True, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"task": "nope"}, "unknown task 'nope'"),
        (
            {"task": "stsb", "class_weights": "balanced"},
            "^invalid --class-weights balanced: task 'stsb' is of type regression, .*leave it out$",
        ),
        ({"task": "absent.yaml"}, "cannot read absent.yaml"),
        ({"teacher": "/nowhere"}, "folder '/nowhere' does not exist"),
        ({"general_teacher": "./nowhere"}, "folder '.*/nowhere' does not exist"),
        ({"task": "mrpc", "data_dir": "/nowhere"}, "the data folder /nowhere does not exist"),
        ({"storage": "nonsense"}, "invalid --storage nonsense: expected sqlite:///"),
        ({"storage": "postgresql:/me:hush3@h/db"}, "invalid --storage postgresql:.*@h/db"),
    ],
)
def test_settings_that_are_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(KdnasError, match=told) as caught:
        check_settings(Settings(**changes))  # type: ignore[arg-type]
    assert "hush3" not in str(caught.value)


def test_data_are_read_once(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    load = early.load_data

    def counted(*given: object, **options: object) -> TaskData:
        calls.append("read")
        return load(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(early, "load_data", counted)
    monkeypatch.setattr(early, "_read", {})
    settings = Settings(task="mrpc", data_dir=data_folder)
    check_settings(settings)
    check_settings(settings)
    assert len(task_data(settings).splits["train"]) == 240 and calls == ["read"]
    task_data(settings)
    task_data(settings.model_copy(update={"skip_malformed": True}))
    assert len(calls) == 3
    check_settings(settings)
    file = data_folder / "MRPC" / "dev.tsv"
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    check_settings(settings)
    assert len(calls) == 5


def test_data_are_read_again_where_the_task_or_a_linked_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early, "_read", {})
    (tmp_path / "t").mkdir()
    for split in ("train", "validation"):
        (tmp_path / "t" / f"{split}.csv").write_text("text,label\nhi,0\nbye,1\n")
    held = tmp_path / "t" / "validation.csv"
    held.rename(tmp_path / "held.csv")
    held.symlink_to(tmp_path / "held.csv")
    file = tmp_path / "t.yaml"
    file.write_text("text: text\nlabels: [a, b]\n")
    settings = Settings(task=str(file), data_dir=tmp_path)
    check_settings(settings)
    file.write_text("text: text\nlabels: [c, d]\n")
    assert task_data(settings).spec.labels == ("c", "d")
    check_settings(settings)
    (tmp_path / "held.csv").write_text("text,label\nhi,0\nbye,1\nso,1\n")
    assert len(task_data(settings).splits["validation"]) == 3


def test_a_variable_that_names_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDNAS_DATA_DIR", "/nowhere\x1b")
    for check in (check_settings, check_tasks):
        with pytest.raises(KdnasError, match=r"invalid KDNAS_DATA_DIR '/nowhere\\x1b'"):
            check(Settings(task="mrpc"))


def test_a_run_that_began_on_the_hub_goes_on_with_it_in_any_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Run.create(Settings(task="mrpc", out=tmp_path / "run")).folder
    (tmp_path / "others").mkdir()  # without this task's data
    for variable in ("/nowhere", str(tmp_path / "others")):
        monkeypatch.setenv("KDNAS_DATA_DIR", variable)
        assert open_to_resume(folder).settings.data_dir is None
        assert open_to_resume(folder, final_seeds=2).settings.data_dir is None
        with pytest.raises(KdnasError, match=r"KDNAS_DATA_DIR|/others"):
            check_settings(Settings(task="mrpc"))


def test_a_folder_that_is_gone_is_no_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "students" / "trial-3" / "student").mkdir(parents=True)
    (tmp_path / "file").touch()
    for name in ("run/student", "./x", "/x", "~/x", "a/b/c", "run"):
        assert is_local(name)
    for name in ("roberta-base", "someone/model"):
        assert not is_local(name)
        check_checkpoint(name)
    refused: dict[str, tuple[Callable[[str], None], str]] = {
        "run/student": (check_checkpoint, "folder 'run/student' does not exist"),
        "file": (check_checkpoint, "'file' is a file"),
        "my model": (check_checkpoint, "'my model' is no folder here and no hub id"),
        "run/students/trial-3": (check_model, "has no config.json; give a folder"),
        " ": (check_model, "invalid MODEL ' '"),
        "runs/bert-mrpc": (check_model, "there is no run runs/bert-mrpc here; give a run"),
    }
    for name, (check, told) in refused.items():
        with pytest.raises(KdnasError, match=told):
            check(name)
    (tmp_path / "run/students/trial-3/student/config.json").write_text("{}")
    with pytest.raises(KdnasError, match="did you mean run/students/trial-3/student?"):
        check_model("run/students/trial-3")
    (tmp_path / "run" / "config.yaml").touch()
    with pytest.raises(KdnasError, match="run/student does not exist yet; make it with `kdnas"):
        check_model("run")


def test_one_choice_of_a_trial() -> None:
    assert check_choice(3, None) is None and check_choice(None, "2.5") == 2.5
    for trial, speedup in ((None, None), (1, 2)):
        with pytest.raises(KdnasError, match="give either --trial N or --speedup X"):
            check_choice(trial, speedup)
    with pytest.raises(KdnasError, match="invalid --speedup 2,4: several speed-ups need --pruned"):
        check_choice(None, "2,4")


@pytest.mark.parametrize("named", ["id", "text"])
def test_rows_that_are_not_scored_are_none_to_learn_from(tmp_path: Path, named: str) -> None:
    entry = {"text": "text", "labels": ["neg", "pos"], "id": "id"}
    said = []
    for split, count in (("train", 40), ("validation", 30)):
        rows = [{"id": f"{split}{i}", "text": f"{split} row {i}"} for i in range(count)]
        lines = [
            json.dumps({**row, "label": "pos" if i % 2 else "neg"}) for i, row in enumerate(rows)
        ]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
        said += [json.dumps({named: row[named], "label": "pos"}) for row in rows]
    (tmp_path / "said.jsonl").write_text("\n".join(said))
    given = {"task": "mine", "tasks": {"mine": entry}, "data_dir": tmp_path, "max_eval_rows": 10}
    data = task_data(Settings(**given, teacher_predictions=tmp_path / "said.jsonl"))
    validation = data.splits["validation"]
    assert len(validation) == len(validation.predictions or ()) == 10
    assert len(data.splits["train"]) == 40 and data.further is None
