"""Pruned students beside dense ones in one study: `kdnas search --search-over shape,pruning`."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK, Said
from support.tiny import small_config

from kdnas import KdnasError, load_run, resume, search
from kdnas.config import Settings
from kdnas.scoring.costs import Costs
from kdnas.scoring.evaluate import Evaluation
from kdnas.scoring.scorer import Score
from kdnas.space import PrunedArchitecture, Pruning, SearchSpace
from kdnas.study.pruner import SuccessiveHalvingPruner
from kdnas.study.results import TrialWriter
from kdnas.study.rows import candidate_of, fault_of, row_of, trial_of
from kdnas.study.samplers import SAMPLERS, make_sampler
from kdnas.study.study import create_study
from kdnas.workflow.preparing.run_space import RESERVE, searched_prunings

SPARSITIES = [0.25, 0.5, 0.75]
OVER: dict[str, Any] = {
    **QUICK,
    "search_over": "shape,pruning",
    "space": {"num_hidden_layers": [1, 2], "hidden_act": ["gelu"], "sparsity": SPARSITIES},
}


def space_of_both() -> SearchSpace:
    """Shapes of two depths, none of them the teacher's, and its pruned students."""
    space = SearchSpace.from_teacher(small_config(), "bert", {"num_hidden_layers": [1, 2]})
    return space.with_prunings([Pruning("ziplm", sparsity=one) for one in SPARSITIES])


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLERS)
def test_all_samplers_propose_both_kinds_each_candidate_once(name: str, tmp_path: Path) -> None:
    space = space_of_both()
    sampler = make_sampler(name, space, 0, 16)
    study = create_study(f"sqlite:///{tmp_path}/s.db", name, sampler, "reward", {})
    tried = []
    for _ in range(16):
        trial = study.ask(space.distributions)
        tried.append(space.candidate(trial.params))
        assert space.is_valid(trial.params)
        trial.set_user_attr("loss", 0.1)
        study.tell(trial, -tried[-1].pruning.sparsity)
    assert len(set(tried)) == 16
    if name != "lstm":  # which learns what is worth trying
        assert {bool(one.pruning) for one in tried} == {True, False}


@pytest.mark.parametrize(("speedup", "layers"), [(2.0, [0]), (8.0, [0, 8]), (15.0, [6, 4])])
def test_at_high_speeds_fewer_layers_are_pruned(speedup: float, layers: list[int]) -> None:
    settings = Settings(task="mrpc", speedup=speedup, search_over="shape,pruning")
    found = searched_prunings(settings, 12)
    assert [one.layers for one in found] == layers
    assert all(one.speedup == pytest.approx(1.08 * speedup) for one in found)
    by_hand = settings.model_copy(update={"mapping": {3: [6], 12: [12]}})
    assert [one.layers for one in searched_prunings(by_hand, 12)] == [0]


def test_how_many_layers_stay_is_a_dimension() -> None:
    space = SearchSpace.from_teacher(small_config(), "bert", {"num_hidden_layers": [1, 2]})
    prunings = [Pruning("ziplm", speedup=8.64, layers=n) for n in (0, 2)]
    space = space.with_prunings(prunings)
    pruned = [one for one in space.candidates if one.pruning]
    assert [one.pruning for one in pruned] == prunings
    assert pruned[1].label == "3x32 h4 f64 gelu ziplm 8.64x of 2 layers"
    for one in pruned:
        assert space.is_valid(params := space.params(one)) and space.candidate(params) == one
    # Whatever a sampler draws beside it, a pruned student is one of the two.
    drawn = {**space.params(pruned[1]), "pruned_to_speedup": 0.0, "num_hidden_layers": 1}
    assert space.candidate(space.nearest(drawn)) == pruned[1]
    dense = {**space.params(space.candidates[0]), "kept_layers": 2, "pruned_to_speedup": 8.64}
    assert space.candidate(space.nearest(dense)) == space.candidates[0]


def test_parameters_of_a_space_come_back() -> None:
    space = space_of_both()
    assert len(space.candidates) == len(space.architectures) + 3
    for candidate in (space.candidates[0], *space.candidates[-3:]):
        params = space.params(candidate)
        assert space.candidate(params) == candidate and space.is_valid(params)
    odd = {**space.params(space.candidates[0]), "sparsity": 0.5}
    assert not space.is_valid(odd) and space.is_valid(space.nearest(odd))
    odd = {**space.params(space.candidates[-1]), "num_hidden_layers": 1}
    assert not space.is_valid(odd) and space.is_valid(space.nearest(odd))


def test_with_a_limit_the_teacher_is_pruned_as_far_as_that() -> None:
    settings = Settings(speedup=2.0, search_over="shape,pruning", pruned="magnitude")
    [pruning] = searched_prunings(settings, 3)
    assert pruning == Pruning("magnitude", speedup=2.16)
    named = settings.model_copy(update={"space": {"sparsity": [0.5]}})
    assert [one.sparsity for one in searched_prunings(named, 3)] == [0.5]
    space = space_of_both().with_prunings([pruning])
    pruned, dense = space.candidates[-1], space.candidates[0]
    assert pruned.pruning == pruning and "sparsity" not in space.distributions
    for candidate in (pruned, dense):
        params = space.params(candidate)
        assert space.candidate(params) == candidate and space.is_valid(params)
    for odd in ({**space.params(pruned), "pruned_to_speedup": 0.0}, {**space.params(dense)}):
        near = space.nearest({**odd, "pruning": "magnitude"})
        assert space.candidate(near) == pruned and space.is_valid(near)
    near = space.nearest({**space.params(dense), "pruned_to_speedup": 2.16})
    assert space.candidate(near) == dense and space.is_valid(near)


@pytest.mark.slow
def test_a_search_within_a_limit_tries_the_teacher_pruned_to_it(
    tmp_path: Path, teacher_folder: Path, data_folder: Path
) -> None:
    space = {"num_hidden_layers": [1, 2], "hidden_act": ["gelu"]}
    given = {**OVER, "space": space, "data_dir": data_folder, "out": tmp_path / "run"}
    run = search(teacher_folder, "mrpc", **{**given, "trials": 4, "speedup": 1.2})
    pruned = run.trials[run.trials.pruning == "ziplm"]
    assert pruned.pruned_to_speedup.tolist() == [round(RESERVE * 1.2, 3)]


def test_a_row_keeps_how_a_student_is_pruned_and_what_is_left(tmp_path: Path) -> None:
    space, settings = space_of_both(), Settings(warm_start=False)
    study = create_study(f"sqlite:///{tmp_path}/s.db", "rows", None, "reward", {})
    pruner = SuccessiveHalvingPruner(1, 3)
    left = PrunedArchitecture.of(space.teacher, (3, 0, 2), (64, 8, 0))
    costs, score = Costs(9, 8, 1.0, 0.0, 2.0, 2.0), Score(0.5)
    for candidate, shape in ((space.candidates[0], None), (space.candidates[-1], left)):
        study.enqueue_trial(space.params(candidate))
        trial = study.ask(space.distributions)
        found = Evaluation(costs, {}, score, 0.6, 1.0, shape)
        TrialWriter(study, settings, pruner, {}).write(trial, found, 0)
    dense, pruned = (row_of(trial, settings) for trial in study.get_trials())
    assert "pruning" not in dense and "heads_by_layer" not in dense
    assert (pruned["pruning"], pruned["sparsity"]) == ("ziplm", 0.75)
    assert (pruned["heads_by_layer"], pruned["neurons_by_layer"]) == ("3,0,2", "64,8,0")
    for row, candidate in ((dense, space.candidates[0]), (pruned, space.candidates[-1])):
        assert fault_of(row) is None and candidate_of(row) == candidate
        again = trial_of(row, space, settings)
        assert space.candidate(again.params) == candidate and row_of(again, settings) == {
            **row,
            "number": -1,
        }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path, data_folder: Path) -> Path:
    """A finished search of four candidates, the second of them pruned; copy it to change it."""
    out = tmp_path_factory.mktemp("both") / "run"
    given = {**OVER, "data_dir": data_folder, "out": out, "trials": 4, "sampler": "random"}
    return search(teacher_folder, "mrpc", **given, warm_start=False).folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.mark.slow
def test_the_table_says_what_is_left_by_layer(made: Path) -> None:
    with (made / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    pruned = [row for row in rows if row["pruning"] == "ziplm"]
    assert pruned and len(pruned) < len(rows)
    for row in pruned:
        assert float(row["sparsity"]) in SPARSITIES and float(row["loss"]) > 0
        heads, neurons = (row[f"{part}_by_layer"].split(",") for part in ("heads", "neurons"))
        assert len(heads) == len(neurons) == 3 and row["num_hidden_layers"] == "3"
        assert sum(map(int, heads)) < 12
    assert all(row["heads_by_layer"] == "" for row in rows if row not in pruned)
    report = load_run(made).report
    assert report is not None and report.search is not None
    assert report.search.space == len(load_run(made).trials) or report.search.space > 4


@pytest.mark.slow
def test_a_pruned_trial_is_distilled_from_its_own_state(run: Path, command: Said) -> None:
    table = load_run(run).trials
    number = int(table[table.pruning == "ziplm"].number.iloc[0])
    assert command("distill", run, "--trial", number)[0] == 0
    found = load_run(run).report
    assert found is not None
    folder = run / "students" / f"trial-{number}"
    home = folder if folder.exists() else run
    assert (home / "student" / "config.json").read_text().count("kdnas_pruned") == 1


@pytest.mark.slow
def test_a_run_goes_on_and_a_lost_study_is_made_again(run: Path) -> None:
    before = load_run(run).trials
    (run / "study.db").unlink()
    resume(run, rebuild_study=True, trials=5)
    after = load_run(run).trials
    assert len(after) == 5
    for name in ("pruning", "sparsity", "heads_by_layer", "neurons_by_layer", "score"):
        same = before[name].fillna("").tolist() == after[name].fillna("").tolist()[:4]
        assert same, name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": {"sparsity": [1.0]}}, "invalid space.sparsity: 1.0; expected shares above 0"),
        ({"space": {"sparsity": []}}, "invalid space.sparsity: []"),
        ({"sparsity": 0.5}, "--sparsity and --search-over shape,pruning contradict each other"),
        ({"inherit": False}, "--no-inherit and --search-over shape,pruning contradict"),
        (
            {"search_over": "shape", "space": {"sparsity": [0.5]}},
            "invalid space.sparsity: nothing is pruned; add --search-over shape,pruning",
        ),
    ],
)
def test_bad_choices_are_refused_at_once(
    tmp_path: Path, teacher_folder: Path, data_folder: Path, options: dict[str, Any], message: str
) -> None:
    given = {**OVER, "data_dir": data_folder, "out": tmp_path / "run", **options}
    with pytest.raises(KdnasError) as error:
        search(teacher_folder, "mrpc", **given)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
