"""A worker that has neither the run folder nor the teacher."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import optuna
import pytest
import torch
from conftest import QUICK, flags_of
from optuna.trial import TrialState
from support.processes import kdnas_child
from support.stepwise import Stepwise
from transformers import AutoModel

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.runs.context import Context, open_context
from kdnas.runs.run_folder import Run
from kdnas.study.attributes import SETTINGS
from kdnas.study.join import (
    IDENTITY,
    check_same_teacher,
    forget_teacher,
    join,
    keep,
    publish,
    rejoin,
)
from kdnas.study.study import evaluated, load_run_study
from kdnas.workflow import pipeline


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/shared.db"


@pytest.fixture
def begun(url: str, teacher_folder: Path, data_folder: Path, tmp_path: Path) -> Stepwise:
    """A search with one trial of three, on a machine whose folders are gone afterwards."""
    for source, name in ((teacher_folder, "teacher"), (data_folder, "data")):
        shutil.copytree(source, tmp_path / "first" / name)
    settings = Settings(
        teacher=str(tmp_path / "first" / "teacher"),
        task="mrpc",
        data_dir=tmp_path / "first" / "data",
        out=tmp_path / "first" / "run",
        storage=url,
        study="shared",
        trials=1,
        **QUICK,
    )
    pipeline = Stepwise(Run.create(settings))
    pipeline.search()
    more = Stepwise(Run.open(pipeline.run.folder, trials=3))
    more.open_study()
    return more


@pytest.fixture
def flags(
    begun: Stepwise, url: str, teacher_folder: Path, data_folder: Path, tmp_path: Path
) -> dict[str, object]:
    """What a worker elsewhere gives."""
    (tmp_path / "first").rename(tmp_path / "elsewhere")
    return {
        "storage": url,
        "study": "shared",
        "teacher": str(teacher_folder),
        "data_dir": str(data_folder),
        "out": str(tmp_path / "second"),
        "threads": 1,
        "device": "cpu",
    }


@pytest.mark.slow
def test_a_worker_elsewhere_works_until_the_total_is_reached(
    flags: dict[str, object], url: str, tmp_path: Path
) -> None:
    given = flags_of(flags)
    done = kdnas_child("worker", *given)
    assert done.wait() == 0, done.output
    assert "no work left" in done.output
    study = load_run_study(url, "shared", tmp_path)
    assert len(evaluated(study)) == 3 == len({tuple(t.params.values()) for t in evaluated(study)})
    assert {t.state for t in study.trials} == {TrialState.COMPLETE}
    again = kdnas_child("worker", *given)
    assert again.wait() == 0 and "fine-tuning" not in again.output
    joined = kdnas_child("worker", tmp_path / "second", "--threads", 1)
    assert joined.wait() == 0, joined.output
    assert len(load_run_study(url, "shared", tmp_path).trials) == 3


def test_the_study_holds_plain_settings_and_nothing_of_one_machine(
    begun: Stepwise, url: str, tmp_path: Path
) -> None:
    kept = load_run_study(url, "shared", tmp_path).user_attrs[SETTINGS]
    assert json.loads(json.dumps(kept)) == kept
    assert kept["trials"] == 3 and kept["mini_epochs"] == 0.5
    assert not {"storage", "study", "out", "threads", "device"} & kept.keys()


def test_a_worker_joins_again_after_its_study_has_other_settings(
    flags: dict[str, object], url: str, tmp_path: Path
) -> None:
    first = join(flags)
    assert first.settings.trials == 3
    changes = {"trials": 5, "task_lr": 0.25, "mini_epochs": 1.0}
    study = load_run_study(url, "shared", tmp_path)
    study.set_user_attr(SETTINGS, {**study.user_attrs[SETTINGS], **changes})
    found = [join(flags), rejoin(first)]
    for run in found:
        assert {name: getattr(run.settings, name) for name in changes} == changes
        assert run.settings.teacher == str(flags["teacher"]) and run.folder == tmp_path / "second"
    assert Run.open(first.folder).settings == first.settings  # a plan changes nothing
    found[0].settings = found[0].settings.model_copy(update={"threads": 7})
    keep(found[0])
    kept = Run.open(first.folder).settings
    assert kept.trials == 5 and kept.threads == 1
    with pytest.raises(KdnasError, match=r"holds another study: its --seed .*`kdnas worker /"):
        join({**flags, "seed": 9})


def test_a_worker_goes_on_with_the_data_that_it_joined_with(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(storage=url, study_name="shared")
    publish(study, Settings(task="mrpc"))
    for name in IDENTITY:
        study.set_user_attr(name, "")
    flags: dict[str, object] = {"storage": url, "study": "shared"}
    of_hub = join({**flags, "out": tmp_path / "of-hub"})
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("KDNAS_DATA_DIR", str(tmp_path / "data"))
    assert rejoin(of_hub).settings.data_dir is None
    assert join({**flags, "out": tmp_path / "of-hub"}).settings.data_dir is None
    with pytest.raises(KdnasError, match=r"its --data-dir is not set; you gave .*/data; choose"):
        join({**flags, "out": tmp_path / "of-hub", "data_dir": tmp_path / "data"})
    of_folder = join({**flags, "out": tmp_path / "of-folder"})
    assert of_folder.settings.data_dir == tmp_path / "data"
    monkeypatch.delenv("KDNAS_DATA_DIR")
    assert rejoin(of_folder).settings.data_dir == tmp_path / "data"


def test_a_worker_joins_again_with_the_teacher_that_its_study_has_now(
    flags: dict[str, object], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = join(flags).folder / "teacher"
    shutil.copytree(tmp_path / "elsewhere" / "run" / "teacher", teacher)
    study = load_run_study(url, "shared", tmp_path)
    study.set_user_attr(SETTINGS, {**study.user_attrs[SETTINGS], "teacher_epochs": 1.5})

    def stop(context: Context, *_: object) -> None:
        assert not teacher.exists()
        assert Run.open(context.run.folder).settings.teacher_epochs == 1.5
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "prepare", stop)
    with pytest.raises(KeyboardInterrupt):
        pipeline.work_on_study(open_context(join(flags)), check=True)


def test_a_worker_is_refused_that_began_before_its_study_got_another_teacher() -> None:
    study = optuna.create_study()
    study.set_user_attr(SETTINGS, {"fine_tune": False})
    check_same_teacher(study, Settings(), "a", "a")
    study.set_user_attr(SETTINGS, {"fine_tune": True})
    forget_teacher(study)
    told = "^the study's --fine-tune is True, not False: it changed meanwhile; give the same comm"
    with pytest.raises(KdnasError, match=told):
        check_same_teacher(study, Settings(), "a", "a")
    check_same_teacher(study, Settings(fine_tune=True), "a", "b")
    with pytest.raises(KdnasError, match="the teacher or the data differ from the study's"):
        check_same_teacher(study, Settings(fine_tune=True), "c", "d")


@pytest.mark.slow
def test_a_teacher_fine_tuned_on_the_first_machine_serves(
    flags: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = Stepwise(join({**flags, "teacher": str(tmp_path / "elsewhere/run/teacher")}))
    capsys.readouterr()
    pipeline.search()
    assert "fine-tuning" not in capsys.readouterr().out
    assert len(evaluated(pipeline.open_study())) == 3


def test_another_teacher_is_refused(
    flags: dict[str, object], teacher_folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(teacher_folder, other)
    model = AutoModel.from_pretrained(other)
    with torch.no_grad():
        next(iter(model.parameters())).add_(0.01)
    model.save_pretrained(other)
    with pytest.raises(KdnasError, match="the teacher or the data differ from the study's"):
        Stepwise(join({**flags, "teacher": str(other)})).search()


def test_other_data_are_refused(
    flags: dict[str, object], data_folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(data_folder, other)
    table = other / "MRPC" / "train.tsv"
    table.write_text(table.read_text().replace("cat", "dog"))
    with pytest.raises(KdnasError, match="the teacher or the data differ from the study's"):
        Stepwise(join({**flags, "data_dir": str(other)})).search()


def test_what_is_missing_is_named(flags: dict[str, object], url: str, tmp_path: Path) -> None:
    without = {key: value for key, value in flags.items() if key != "teacher"}
    with pytest.raises(KdnasError, match="not on this machine; give --teacher"):
        join(without)
    told = "no study 'none' in .*shared.db; it has 'shared'"
    with pytest.raises(KdnasError, match=told):
        join({**flags, "study": "none"})
    with pytest.raises(KdnasError, match="holds another run"):
        join({**flags, "out": str(tmp_path / "elsewhere" / "run")})
    lost = tmp_path / "lost.db"
    with pytest.raises(KdnasError, match="no study 'shared': .*lost.db does not exist"):
        join({**flags, "storage": f"sqlite:///{lost}"})
    assert not (tmp_path / "second").exists() and not lost.exists()


def test_a_worker_needs_a_run_or_a_storage(begun: Stepwise) -> None:
    neither = kdnas_child("worker")
    assert neither.wait() == 2 and "no study given: name a run folder" in neither.output
    both = kdnas_child("worker", begun.run.folder, "--teacher", "x")
    assert both.wait() == 2 and "--teacher needs --storage" in both.output
