"""How far trained students agree with their teacher on rows that none trained on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.stepwise import Stepwise

from kdnas.distillation.signals import LiveSignal
from kdnas.report.model import SEARCHED
from kdnas.runs.run_folder import Run
from kdnas.scoring.agreement import heldout_agreement
from kdnas.space import Candidate
from kdnas.tasks import EncodedExamples
from kdnas.workflow.distilling.held_out_agreement import OnItsOwnTokens, agreement_of, can_agree
from kdnas.workflow.distilling.measure import Control, saved_model


@pytest.fixture
def pipeline(finished_run: Path, tmp_path: Path) -> Stepwise:
    return Stepwise(Run.open(shutil.copytree(finished_run, tmp_path / "run")))


def test_the_teacher_agrees_with_itself_and_a_student_less(pipeline: Stepwise) -> None:
    prepared, run = pipeline.prepared, pipeline.run.folder
    assert can_agree(prepared)
    for other in ({"recorded": True}, {"has_head": False}):  # an untrained head says nothing
        assert not can_agree(replace(prepared, teacher=replace(prepared.teacher, **other)))
    shape = Candidate(pipeline.space.teacher)
    whole = agreement_of(prepared, Control("teacher", shape, run / "teacher"))
    found = agreement_of(prepared, Control(SEARCHED, shape, run / "student"))
    assert whole.value == pytest.approx(1, abs=1e-6) and -1 <= found.value < 1
    assert found.parts.sum() == pytest.approx(1 - found.value) and len(found.parts) > 1
    again = agreement_of(prepared, Control(SEARCHED, shape, run / "student"))  # from its step
    assert again.value == found.value and again.parts.tolist() == found.parts.tolist()
    assert whole.clearly_above(found) and not found.clearly_above(whole)
    rows = prepared.rows(shape.vocabulary)
    student = saved_model(run / "student", prepared.inputs.data.spec)
    given = (rows.selection, LiveSignal(prepared.teacher.model, pipeline.runtime.exact))
    expected = heldout_agreement(student, *given, pipeline.runtime.exact, pad_id=rows.pad_id)
    assert found.value == pytest.approx(expected.value, abs=1e-6)


def test_a_teacher_reads_the_rows_in_its_own_tokens(pipeline: Stepwise) -> None:
    """A student whose tokens have other numbers, here one more each, is compared row by row."""
    prepared = pipeline.prepared
    teacher, runtime = prepared.teacher, pipeline.runtime.exact
    rows = prepared.rows("teacher").selection
    shifted = (rows.input_ids + 1) % teacher.model.config.vocab_size
    other = replace(rows, input_ids=shifted.astype(rows.input_ids.dtype))
    assert isinstance(other, EncodedExamples)
    live = LiveSignal(teacher.model, runtime)
    same = OnItsOwnTokens(live, rows, teacher.pad_id)
    through = heldout_agreement(teacher.model, other, same, runtime, pad_id=teacher.pad_id)
    direct = heldout_agreement(teacher.model, other, live, runtime, pad_id=teacher.pad_id)
    assert direct.value == pytest.approx(1, abs=1e-6) and through.value < 1 - 1e-6
