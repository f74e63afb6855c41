"""What --track tells a tracker, and that it never stops a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import accelerate.tracking
import pytest

from kdnas.config import Settings, load_settings
from kdnas.errors import KdnasError
from kdnas.files.curves import MINI_KD, Curves
from kdnas.runs import tracking as module
from kdnas.runs.run_folder import Run
from kdnas.runs.tracking import check_tracker, tracking
from kdnas.runtime.device import start_runtime
from kdnas.workflow.preparing.early import check_settings


class Noted(accelerate.tracking.GeneralTracker):
    """Notes what it is told; fails at a call of a name, if any."""

    name, requires_logging_directory = "tensorboard", True
    made: list[Noted] = []  # noqa: RUF012
    fails = ""

    def __init__(self, **given: Any) -> None:
        super().__init__(_blank=True)
        self.given, self.calls = given, list[tuple[str, Any]]()
        self.made.append(self)

    def _note(self, name: str, what: Any = None) -> None:
        self.calls.append((name, what))
        if name == self.fails:
            raise OSError("no route\nto the server")

    def start(self) -> None:
        self._note("start")

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self._note("settings", values)

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self._note("log", (values, step))

    def finish(self) -> None:
        self._note("finish")


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> type[Noted]:
    monkeypatch.setattr(Noted, "made", [])
    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "tensorboard", Noted)
    return Noted


def use(folder: Path, **changes: Any) -> None:
    """A run that has a curve of each kind, two trials and a score."""
    folder.mkdir(exist_ok=True)
    for name, stage in (("teacher", "fine-tuning"), ("trial 0", MINI_KD), ("student", "task")):
        Curves(folder).record(name, stage, [(0, 1.0), (10, 0.5)])
    settings = Settings(**{"track": "tensorboard", "storage": "sqlite:////tmp/a.db", **changes})
    with tracking(settings, folder) as track:
        track.curves()
        row = {"score": 0.5, "loss": 0.5, "reward": None, "speedup": float("nan"), "params": 7}
        track.trials([{"number": 0, **row}, {"number": 3, **row, "score": 0.75}])
        track.curves()  # nothing new
        track.results({"student": {"accuracy": 0.9, "f1 (spam)": 0.25}})


def test_it_is_told_settings_trials_losses_and_scores_once(
    noted: type[Noted], tmp_path: Path
) -> None:
    use(tmp_path / "run")
    [tracker] = noted.made
    names = [name for name, _ in tracker.calls]
    assert names[:2] == ["start", "settings"] and names[-1] == "finish"
    settings = dict(tracker.calls)["settings"]
    assert settings["trials"] == 20 and settings["track"] == "tensorboard"
    assert "storage" not in settings  # its URL may hold a password
    assert all(isinstance(value, bool | int | float | str) for value in settings.values())
    logged = [what for name, what in tracker.calls if name == "log"]
    assert ({"loss/teacher/fine-tuning": 0.5}, 10) in logged
    assert ({"trials/score": 0.75, "trials/loss": 0.5, "trials/params": 7.0}, 3) in logged
    assert ({"student/accuracy": 0.9, "student/f1 spam": 0.25}, None) in logged
    assert len(logged) == 4 + 2 + 1 and not any("trial 0" in str(each) for each in logged)


def test_a_student_that_is_trained_again_shows_its_own_losses(
    noted: type[Noted], tmp_path: Path
) -> None:
    curves = Curves(tmp_path)
    for name, stage in (("teacher", "fine-tuning"), ("student", "task")):
        curves.record(name, stage, [(0, 1.0), (10, 0.5)])
    with tracking(Settings(track="tensorboard"), tmp_path) as track:
        track.curves()
        curves.record("student", "task", [(0, 2.0), (20, 0.25)])
        track.curves()
    [tracker] = noted.made
    assert tracker.calls[-1] == ("finish", None)
    assert [what for name, what in tracker.calls if name == "log"] == [
        ({"loss/student/task": 2.0}, 0),
        ({"loss/student/task": 0.25}, 20),
        ({"loss/teacher/fine-tuning": 1.0}, 0),
        ({"loss/teacher/fine-tuning": 0.5}, 10),
    ]


def test_stages_of_another_training_are_not_shown(noted: type[Noted], tmp_path: Path) -> None:
    curves = Curves(tmp_path)
    curves.record("student", "hidden", [(0, 4.0)], after=[])
    curves.record("student", "task", [(0, 3.0)], after=["hidden"])
    curves.record("student seed 1", "hidden", [(0, 2.0)], after=[])
    with tracking(Settings(track="tensorboard"), tmp_path):
        curves.record("student", "task", [(0, 1.0)], after=[])  # by a recipe of this stage alone
        curves.record("student seed 1", "task", [(0, 0.5)], after=["hidden"])  # it goes on
    [tracker] = noted.made
    assert [what for name, what in tracker.calls if name == "log"] == [
        ({"loss/student/task": 1.0}, 0),
        ({"loss/student seed 1/hidden": 2.0}, 0),
        ({"loss/student seed 1/task": 0.5}, 0),
    ]


@pytest.mark.parametrize("fails", ["start", "settings", "log", "finish"])
def test_a_tracker_that_fails_is_said_once_and_stops_nothing(
    noted: type[Noted],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fails: str,
) -> None:
    monkeypatch.setattr(noted, "fails", fails)
    use(tmp_path / "run")
    told = "--track stops, the run goes on: no route to the server\n"
    assert capsys.readouterr().out == told
    assert [name for name, _ in noted.made[0].calls].count(fails) == 1


def test_off_is_the_default_and_makes_nothing(noted: type[Noted], tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("track: off\n")
    assert Settings().track == load_settings([tmp_path / "a.yaml"], {}).track == "off"
    use(tmp_path / "run", track="off")
    assert not noted.made


def test_the_work_that_fails_within_finishes_the_tracker(
    noted: type[Noted], tmp_path: Path
) -> None:
    settings = Settings(track="tensorboard")
    with pytest.raises(KdnasError, match="too slow"), tracking(settings, tmp_path):
        raise KdnasError("too slow")
    assert noted.made[0].calls[-1] == ("finish", None)


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    told = rf"^invalid --track {name}: the package {name} is not installed; pip install '.*'"
    with pytest.raises(KdnasError, match=told):
        check_settings(Settings(track=name))  # type: ignore[arg-type]
    check_tracker("off")


def test_an_existing_run_may_be_tracked(tmp_path: Path) -> None:
    run = Run.create(Settings(out=tmp_path / "run"))
    assert Run.open(run.folder, track="mlflow").settings.track == "mlflow"


def test_tensorboard_reads_what_it_was_told(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs kdnas[track]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    start_runtime(device="cpu")
    use(tmp_path / "run")
    use(tmp_path / "run")  # it goes on: told whole again, not twice
    found = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "run"))
    found.Reload()
    assert [(e.step, e.value) for e in found.Scalars("trials/score")] == [(0, 0.5), (3, 0.75)]
    assert [e.step for e in found.Scalars("loss/student/task")] == [0, 10]
    assert found.Scalars("student/accuracy")[0].value == pytest.approx(0.9)
