"""What a plan says of the teacher and of what is chosen from."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import QUICK
from support.tiny_writers import save_captions, save_writer

from kdnas.config import load_settings
from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.workflow.planning.planned_facts import LEGEND, LEGEND_OF_TWO, planned_facts
from kdnas.workflow.preparing.inputs import load_given_teacher, read_inputs


@pytest.mark.parametrize(
    ("given", "label"), [({"architecture": "1+1x16"}, "student"), ({}, "candidates")]
)
def test_a_person_reads_what_stands_behind_the_plus(
    given: dict[str, str], label: str, tmp_path: Path
) -> None:
    folder = save_captions(tmp_path, train=40, dev=8)
    teacher = str(save_writer(folder / "bart"))
    places = {"data_dir": folder, "task": str(folder / "captions.yaml"), "out": folder / "run"}
    settings = load_settings(None, {**QUICK, "teacher": teacher, **places, **given})
    context = open_context(Run.create(settings))
    inputs = read_inputs(context)
    tuning = {"tunes_teacher": False, "tuned_in_cache": False}
    facts = planned_facts(context, inputs, load_given_teacher(context, inputs), 2.0, tuning)
    assert LEGEND_OF_TWO in facts.students[label] and LEGEND not in facts.students[label]
