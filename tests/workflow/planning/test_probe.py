"""Speeds that a plan rests on, measured on the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK
from optuna.trial import create_trial
from support.stepwise import Stepwise
from support.tiny_writers import save_captions, save_writer
from transformers import PreTrainedModel

from kdnas.config import load_settings
from kdnas.recipes.pseudo_labels import BEAMS
from kdnas.runs.context import open_context
from kdnas.runs.run_folder import Run
from kdnas.study.attributes import UNITS
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.workflow.planning import probe as of_probes
from kdnas.workflow.planning.estimate import Estimate
from kdnas.workflow.planning.probe import _recorded, probe
from kdnas.workflow.preparing.inputs import load_given_teacher, read_inputs
from kdnas.workflow.preparing.selection_rows import for_students


@pytest.mark.parametrize(("own", "times"), [(1, BEAMS), (2, BEAMS / 2), (6, 1)])
def test_plans_know_how_long_the_teacher_searches_with_beams(
    own: int, times: float, tmp_path: Path
) -> None:
    """What it writes by itself is timed with its own beams."""
    folder = save_captions(tmp_path, train=40, dev=8)
    teacher = save_writer(folder / "bart")
    given = {name: value for name, value in QUICK.items() if "epochs" not in name}
    given |= {"data_dir": folder, "max_target_length": 8, "recipe": "sequence-level"}
    given |= {"teacher": str(teacher), "task": str(folder / "captions.yaml"), "out": folder / "run"}
    context = open_context(Run.create(load_settings(None, given)))
    inputs = read_inputs(context)
    loaded = load_given_teacher(context, inputs)
    loaded.model.generation_config.num_beams = own
    speeds = probe(context, inputs, loaded, tune=False, trains=False)
    parts = Estimate(context, inputs, speeds).recipe(signal=True)
    assert speeds.row is not None
    rows = for_students(inputs.data, context.settings).train
    assert parts["pseudo-labels"] == pytest.approx(times * speeds.row * len(rows))


def test_a_step_of_students_without_layers_is_timed_where_a_search_tries_them(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = of_probes.seconds_a_step

    def by_size(model: PreTrainedModel, *given: Any) -> tuple[float, float]:
        """A step of so tiny models takes about as long whatever they are."""
        measured, more = timed(model, *given)
        named = model.named_parameters()
        size = sum(p.numel() for name, p in named if "embeddings" not in name)
        return min(measured, 1.0) + size, more

    monkeypatch.setattr(of_probes, "seconds_a_step", by_size)
    context = open_context(make_run())
    inputs = read_inputs(context)
    given = load_given_teacher(context, inputs)
    both = replace(inputs, space=inputs.space.with_recipes(["default"], ["static"]))
    steps = [probe(context, one, given, tune=False, trains=True) for one in (inputs, both)]
    assert steps[0].static_step is None
    assert steps[1].static_step is not None and 0 < steps[1].static_step < steps[1].student_step
    assert probe(context, both, given, tune=False, trains=False).static_step is None


def test_on_record_is_what_a_whole_training_takes(make_run: Callable[..., Run]) -> None:
    step = Stepwise(make_run(rungs=3, reduction=3))
    study, pruner = step.open_study(), SuccessiveHalvingPruner(3, 3)
    assert _recorded(step.context) is None
    for rung, count in enumerate((9, 3, 1)):
        units = pruner.cost(rung)
        known = {"reward": 1.0, "seconds": 10.0 * units, UNITS: units}
        for _ in range(count):
            study.add_trial(create_trial(value=1.0, user_attrs=known))
    study.add_trial(create_trial(value=1.0, user_attrs={"reward": 1.0, "seconds": 0.0, UNITS: 0}))
    assert _recorded(step.context) == pytest.approx(90)
