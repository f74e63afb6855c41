from __future__ import annotations

from collections.abc import Callable

from support.stepwise import Stepwise

from kdnas.runs.run_folder import Run
from kdnas.study.storage import storage_url
from kdnas.study.study import load_control
from kdnas.workflow.pipeline import distil_another


def test_distil_of_a_search_that_stopped_half_way_runs_no_random_search(
    make_run: Callable[..., Run],
) -> None:
    run = make_run(trials=2, random_control="search")
    steps = Stepwise(run)
    steps.search()
    report = distil_another(steps.context, 1, None)
    assert report.student.trial == 1
    assert (run.folder / "students" / "trial-1" / "student" / "model.safetensors").exists()
    assert load_control(storage_url(None, run.folder), run.settings.study, "random") is None
