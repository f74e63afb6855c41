"""The example of docs/add-a-scorer.md, installed as a package of its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.stepwise import Stepwise

from kdnas.errors import KdnasError
from kdnas.runs.run_folder import Run
from kdnas.runtime.plugins import load_plugins
from kdnas.scoring.scorer import Budget, Score
from kdnas.scoring.scorers import SCORERS
from kdnas.study.study import evaluated

PAGE = Path(__file__).parents[2] / "docs" / "add-a-scorer.md"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's package, installed."""
    page = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    site = tmp_path / "site"
    info = site / "kdnas_parameters-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kdnas_parameters\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[kdnas.plugins]\nparameters = kdnas_parameters\n")
    unindented = re.sub(r"^   ", "", code, flags=re.MULTILINE)
    (site / "kdnas_parameters.py").write_text(unindented, encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    load_plugins.cache_clear()
    load_plugins()
    yield
    load_plugins.cache_clear()
    SCORERS.pop("parameters")
    sys.modules.pop("kdnas_parameters")


@pytest.mark.usefixtures("plugin")
def test_a_search_with_the_scorer_of_a_plugin(make_run: Callable[..., Run]) -> None:
    steps = Stepwise(make_run(scorer="parameters", trials=3))
    steps.check()
    steps.search()
    trials = evaluated(steps.open_study())
    teacher = steps.meter.teacher_params
    assert len(trials) == 3
    for trial in trials:
        found = trial.user_attrs
        assert found["score"] == pytest.approx(found["params"] / teacher)
        assert found["loss"] == pytest.approx(1 - found["score"]) and found["reward"] > 0


@pytest.mark.usefixtures("plugin")
def test_it_scores_what_is_left_of_pruned_students_and_cut_vocabularies(
    make_run: Callable[..., Run],
) -> None:
    over: dict[str, Any] = {
        "search_over": "shape,vocabulary,pruning",
        "vocabularies": "teacher,task",
    }
    over |= {"pruned": "magnitude", "space": {"sparsity": [0.5]}, "mini_score": "agreement"}
    steps = Stepwise(make_run(scorer="parameters", teacher_as_is=True, **over))
    pruned = [one for one in steps.space.candidates if one.pruning]
    assert {one.vocabulary for one in pruned} == {"teacher", "task"}
    found = [steps.scorer.score(one, Budget()).value for one in pruned]
    params = [steps.meter.of_candidate(one).params for one in pruned]
    assert found == [count / steps.meter.teacher_params for count in params]
    assert len({*found}) == 2 and max(found) < 1


def test_a_plugin_takes_no_more_than_it_has_parameters_for(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Same:
        def __init__(
            self, teacher: Any, proxy: Any, settings: Any, runtime: Any, record: Any
        ) -> None:
            self.proxy = proxy

        def score(self, candidate: Any, budget: Any) -> Score:
            return Score(0.5)

    monkeypatch.setitem(SCORERS, "same", Same)
    scorer: Any = Stepwise(make_run(scorer="same", teacher_as_is=True)).scorer
    assert isinstance(scorer, Same) and scorer.proxy


def test_an_unknown_scorer_is_refused_before_anything_is_trained(
    make_run: Callable[..., Run],
) -> None:
    with pytest.raises(KdnasError, match="unknown --scorer 'mini-k'; did you mean 'mini-kd'"):
        Stepwise(make_run(scorer="mini-k")).check()
