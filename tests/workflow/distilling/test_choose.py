"""Of all students trained in full, the best on held-out training rows ships."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import Said
from support.stepwise import Stepwise
from support.tiny import save_squad

from kdnas.config import Settings
from kdnas.files.artifact import content_of
from kdnas.report.model import SEARCHED
from kdnas.runs.run_folder import Run
from kdnas.space import Candidate, Pruning
from kdnas.tasks import TaskSpec
from kdnas.workflow.distilling import choose
from kdnas.workflow.distilling.measure import Control
from kdnas.workflow.preparing.inputs import check_same_data
from kdnas.workflow.preparing.selection_rows import ENOUGH, for_students, selection_rows


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def prefer(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A student of this name is the only one that is right on the held-out rows."""

    def scored(prepared: object, one: Control) -> dict[str, Any]:
        right = int(one.name == name)
        part = {"predicted": [right] * 40, "truth": [1] * 40}
        return {"score": float(right), "rows": {"validation": part}}

    monkeypatch.setattr(choose, "_on_held_out_rows", scored)


@pytest.mark.slow
def test_a_better_control_ships_and_the_searched_student_is_kept(
    run: Path, command: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefer(monkeypatch, SEARCHED)
    assert command("resume", run)[0] == 0
    before = json.loads((run / "report.json").read_text())
    assert before["selection"]["shipped"] == SEARCHED
    own = before["student"]["trial"]
    searched, control = content_of(run / "student"), content_of(run / "controls" / "fine-tuned")
    prefer(monkeypatch, "fine-tuned without KD")
    for _ in range(2):  # resumed, it stays so, and nothing is trained again
        code, error = command("resume", run)
        assert code == 0, error
        assert content_of(run / "student") == control != searched
        assert content_of(run / "controls" / "searched") == searched
        report = json.loads((run / "report.json").read_text())
        assert SEARCHED in {c["name"] for c in report["controls"]}
        assert "fine-tuned without KD" not in {c["name"] for c in report["controls"]}
        assert 'The student is "fine-tuned without KD", ' in report["verdict"]
        [stage] = report["recipe"]
        assert (stage["name"], stage["losses"]) == ("labels-alone", {"task": 1.0})
        assert report["selection"]["shipped"] == "fine-tuned without KD"
        assert report["student"]["trial"] == own
        assert "distilling" not in command.all
    assert command("report", run)[0] == 0
    (run / "student" / "model.safetensors").write_bytes(b"damaged")
    prefer(monkeypatch, SEARCHED)
    code, error = command("resume", run)
    assert code == 0, error
    assert content_of(run / "student") == searched
    assert not (run / "controls" / "searched").exists()
    assert json.loads((run / "report.json").read_text())["selection"]["shipped"] == SEARCHED


@pytest.mark.slow
def test_a_shipped_control_that_is_damaged_is_copied_again(
    run: Path, command: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefer(monkeypatch, "hand-picked, as fast")
    assert command("resume", run)[0] == 0
    shape = json.loads((run / "report.json").read_text())["student"]["architecture"]
    known = json.loads((run / "student" / "kdnas.json").read_text())["key"]["candidate"]
    assert {k: v for k, v in shape.items() if v}.items() <= known.items()
    weights = run / "student" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    assert command("export", run)[0] == 2
    code, error = command("resume", run)
    assert code == 0, error
    assert weights.read_bytes() == content and command("export", run)[0] == 0


def test_of_equals_the_search_s_own_ships(
    run: Path, command: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefer(monkeypatch, "none of them")
    assert command("resume", run)[0] == 0
    assert json.loads((run / "report.json").read_text())["selection"]["shipped"] == SEARCHED


@pytest.mark.parametrize(("rows_above", "ships"), [(2, SEARCHED), (12, "control")])
def test_a_control_ships_if_it_is_better_by_more_than_a_standard_error(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, rows_above: int, ships: str
) -> None:
    """Of 40 rows each is alone right on some: with 4 and 2 of them the standard error is 0.06."""
    pipeline = Stepwise(make_run())

    def scored(prepared: object, one: Control) -> dict[str, Any]:
        alone = 2 if one.name == SEARCHED else 2 + rows_above
        start = 0 if one.name == SEARCHED else 2
        right = [1 if start <= i < start + alone or i >= 30 else 0 for i in range(40)]
        part = {"predicted": right, "truth": [1] * 40}
        return {"score": sum(right) / 40, "rows": {"validation": part}}

    monkeypatch.setattr(choose, "_on_held_out_rows", scored)
    like, folder = Candidate(pipeline.space.smallest), pipeline.run.folder
    made = [Control(SEARCHED, like, folder / "a"), Control("control", like, folder / "b")]
    chosen = choose.choose_student(pipeline.prepared, made)
    assert chosen.shipped.name == ships
    assert (
        chosen.selection and chosen.selection.scores["control"] > chosen.selection.scores[SEARCHED]
    )


def test_in_a_family_no_control_ships_that_misses_the_last_speed_up(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--speedup 2,4,8` is a list, so that the run itself has no limit."""
    pipeline = Stepwise(make_run())
    assert pipeline.settings.speedup is None
    shape, folder = pipeline.space.smallest, pipeline.run.folder
    own = Candidate(shape, pruning=Pruning("ziplm", speedup=8.0, after=(2.0, 4.0)))
    fast = {"slow": 5.0, "fast": 8.2}

    def timed(prepared: object, candidate: Candidate, at: Path) -> dict[str, Any]:
        return {"costs": {"speedup": fast[at.name], "params": 1}}

    monkeypatch.setattr(choose, "measured", timed)
    for better, ships in (("slow", SEARCHED), ("fast", "fast")):
        prefer(monkeypatch, better)
        made = [Control(SEARCHED, own, folder / "student")]
        made += [Control(name, Candidate(shape), folder / name) for name in fast]
        assert choose.choose_student(pipeline.prepared, made).shipped.name == ships


@pytest.mark.slow
def test_what_breaks_a_limit_cannot_ship(make_run: Callable[..., Run]) -> None:
    pipeline = Stepwise(make_run(trials=1, max_params=10_000_000))
    pipeline.search()
    shape, folder = pipeline.space.smallest, pipeline.run.folder
    pipeline.fine_tune(shape, folder / "student")
    pipeline.fine_tune(pipeline.space.largest, folder / "controls" / "large")
    made = [
        Control(SEARCHED, Candidate(shape), folder / "student"),
        Control("large", Candidate(pipeline.space.largest), folder / "controls" / "large"),
    ]
    chosen = choose.choose_student(pipeline.prepared, made)
    assert set(chosen.selection.scores) == {SEARCHED, "large"}  # type: ignore[union-attr]
    costs = pipeline.measured(pipeline.space.largest, folder / "controls" / "large")["costs"]
    pipeline.run.settings = pipeline.settings.model_copy(update={"max_params": costs["params"] - 1})
    pipeline.__dict__.pop("prepared")
    chosen = choose.choose_student(pipeline.prepared, made)
    assert chosen.shipped.name == SEARCHED
    assert set(chosen.selection.scores) == {SEARCHED}  # type: ignore[union-attr]


def test_no_student_trains_on_the_rows_that_choose_it(make_run: Callable[..., Run]) -> None:
    whole = Stepwise(make_run())
    data, settings = whole.data, whole.settings
    seen = for_students(data, settings)
    rows = selection_rows(data, settings)
    assert len(seen.train) + len(rows) == len(data.train) == len(seen.examples) + len(rows)
    assert len(seen.distillation) == len(seen.train)
    proxy = whole.mini.proxy
    assert rows.fingerprint() == data.train.take(data.proxy[proxy.heldout]).fingerprint()
    assert not np.intersect1d(data.proxy[proxy.heldout], data.proxy[proxy.training]).size


def test_rows_that_nobody_trains_on_anyway_are_taken_first(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are, where there are enough, or no more would be held out of those to train on."""
    most = Stepwise(make_run(max_train_rows=200, proxy_fraction=1.0, heldout_fraction=0.3))
    assert most.data.spare is not None and len(most.data.spare) == 40 < ENOUGH
    assert len(for_students(most.data, most.settings).train) == 140
    monkeypatch.setattr("kdnas.workflow.preparing.selection_rows.ENOUGH", 40)
    assert selection_rows(most.data, most.settings) is most.data.spare
    monkeypatch.undo()
    few = Stepwise(make_run(max_train_rows=120, proxy_fraction=1.0, out=tmp_path / "few"))
    assert few.data.spare is not None and len(few.data.spare) == 120 < ENOUGH
    assert selection_rows(few.data, few.settings) is few.data.spare
    seen, spare = for_students(few.data, few.settings), few.data.spare_texts
    assert len(seen.train) == 120 and spare is not None and spare.text_pair is not None
    assert {*spare.text, *spare.text_pair} <= seen.held_out  # nor do other sources give them


def test_rows_of_questions_are_counted_not_windows(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 spare rows are fewer than the 70 that would be held out, however many their windows."""
    monkeypatch.setattr("kdnas.workflow.preparing.selection_rows.ENOUGH", 30)
    given = {"task": "squad", "data_dir": save_squad(tmp_path, sentences=6), "max_length": 32}
    shares = {"window_stride": 8, "heldout_fraction": 0.5, "proxy_fraction": 1.0}
    run = Stepwise(make_run(**given, **shares, max_train_rows=140))
    spare, rows = run.data.spare, selection_rows(run.data, run.settings)
    assert spare is not None and spare.row_count == 20 and len(spare) > 30
    assert rows.row_count == 70


def test_a_run_that_has_begun_keeps_the_rows_that_choose_its_student(
    make_run: Callable[..., Run],
) -> None:
    """Before rows were counted so, it trained on fewer: its students must not be of two kinds."""
    steps = Stepwise(make_run(max_train_rows=120, proxy_fraction=1.0))
    check_same_data(steps.context, steps.data)
    record = steps.run.step("data", {})
    again = Stepwise(Run.open(steps.run.folder))
    assert selection_rows(again.data, again.settings) is again.data.spare
    record.write({name: value for name, value in record.read().items() if name != "choice"})
    older = Stepwise(Run.open(steps.run.folder))
    check_same_data(older.context, older.data)
    assert len(for_students(older.data, older.settings).train) < 120


def test_the_held_out_score_is_of_the_metrics_of_today(tmp_path: Path) -> None:
    run, selection = Run(tmp_path, Settings()), SimpleNamespace(fingerprint=lambda: "rows")
    part = {"predicted": [1, 1, 0, 0], "truth": [1, 0, 0, 0]}
    key = {"content": None, "rows": "rows"}
    run.step("select student", key).write({"score": 0.75, "rows": {"validation": part}})
    none: Any = None
    made = Control(SEARCHED, Candidate(none), tmp_path / "student")

    def score(*metrics: str, **entry: Any) -> float:
        spec = TaskSpec.model_validate(
            {"name": "t", "text": "text", "labels": ["ham", "spam"], "metrics": metrics, **entry}
        )
        prepared: Any = SimpleNamespace(
            inputs=SimpleNamespace(data=SimpleNamespace(spec=spec)),
            context=SimpleNamespace(run=run),
            rows=lambda _: SimpleNamespace(selection=selection),
        )
        return choose.held_out_score(prepared, made)

    assert score("accuracy") == 0.75 and score("f1") == pytest.approx(2 / 3)
    assert score("f1", positive="ham") == pytest.approx(4 / 5)
    assert score("f1", benchmark="B", positive="ham") == pytest.approx(4 / 5)
