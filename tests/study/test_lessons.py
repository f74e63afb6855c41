"""What earlier studies, of other teachers, say of a study's candidates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, create_trial

from kdnas.config import Settings
from kdnas.scoring.costs import MARGIN
from kdnas.space import Architecture, Candidate, SearchSpace
from kdnas.space.derivation import derive_choices
from kdnas.study.attributes import LESSONS, PROPOSAL_ATTR
from kdnas.study.lessons import EarlierStudy, best_of, make_lessons
from kdnas.study.samplers import make_sampler
from kdnas.study.samplers._candidates import CandidateSpace
from kdnas.study.samplers._lessons import EXPECTED_TAU, PAIRS, WORTH, Lessons

BERT_BASE = Architecture(12, 12, 768, 3072, "gelu")
MINILM = Architecture(6, 12, 384, 1536, "gelu")
HERE, THERE = (SearchSpace(one, derive_choices(one)) for one in (BERT_BASE, MINILM))


def trial(shape: Architecture, loss: float, speedup: float, **more: Any) -> FrozenTrial:
    return create_trial(
        value=0.0,
        params={**shape.params, **more},
        distributions={
            **THERE.distributions,
            **{n: optuna.distributions.CategoricalDistribution([v]) for n, v in more.items()},
        },
        user_attrs={"loss": loss, "speedup": speedup},
    )


SHALLOW, DEEP = Architecture(1, 3, 96, 384, "relu"), Architecture(6, 12, 384, 1536, "gelu")
HALF = Architecture(3, 6, 192, 768, "gelu")
THREE = EarlierStudy(
    MINILM, [trial(SHALLOW, 0.8, 9), trial(HALF, 0.3, 4), trial(DEEP, 0.2, 1)], Settings()
)


def test_shapes_are_read_as_shares_of_their_teacher() -> None:
    lessons = make_lessons(THREE, HERE, Settings(alpha=-0.3))
    assert [one["params"] for one in lessons] == [
        {**HALF.params, "num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536},
        BERT_BASE.params,
        {**SHALLOW.params, "num_hidden_layers": 2, "hidden_size": 192, "intermediate_size": 768},
    ]
    scores = np.array([one["scores"] for one in lessons])
    assert scores.mean() == pytest.approx(0, abs=1e-3) and scores.std() == pytest.approx(1, 1e-3)
    assert [one["constraints"] for one in lessons] == [{}] * 3


def test_limits_and_the_front() -> None:
    lessons = make_lessons(THREE, HERE, Settings(speedup=3, objective="pareto"))
    assert {len(one["scores"]) for one in lessons} == {2}
    broken = {one["params"]["num_hidden_layers"]: one["constraints"]["speedup"] for one in lessons}
    assert broken == pytest.approx({6: MARGIN * 3 / 4 - 1, 12: MARGIN * 3 - 1, 2: MARGIN / 3 - 1})
    study = optuna.create_study(directions=["minimize", "minimize"])
    study.set_user_attr(LESSONS, lessons)
    assert {c.architecture.num_hidden_layers for c in best_of(study, HERE)} == {2, 6}


def lessons_of(shapes: list[tuple[float, float]], **asked: Any) -> list[list[float]]:
    """What two students of these losses and speed-ups teach here, the larger student first."""
    trials = [trial(one, *told) for one, told in zip((HALF, SHALLOW), shapes, strict=True)]
    earlier = EarlierStudy(MINILM, trials, Settings())
    lessons = make_lessons(earlier, HERE, Settings(**asked), teacher_params=109_000_000)
    lessons.sort(key=lambda one: -one["params"]["num_hidden_layers"])
    return [one["scores"] for one in lessons]


def test_costs_below_the_limit_are_told_as_trials_are() -> None:
    limited: dict[str, Any] = {"speedup": 4, "objective": "pareto"}
    assert lessons_of([(0.2, 4), (0.3, 6)], **limited) == [[1, -1], [-1, 1]], "cost as it is"
    assert lessons_of([(0.2, 4), (0.2, 6)], speedup=4) == [[0], [0]]
    counted: dict[str, Any] = {"cost": "params"}
    larger, smaller = lessons_of([(0.2, 4), (0.2, 6)], **counted)
    assert larger < smaller
    assert lessons_of([(0.2, 4), (0.2, 6)], **counted, max_params=60_000_000) == [[0], [0]]
    between = {**counted, "max_params": 20_000_000}
    larger, smaller = lessons_of([(0.2, 4), (0.2, 6)], **between)
    assert larger < smaller, "one of them is above the limit"


def test_what_has_no_counterpart_is_left_out() -> None:
    choices = derive_choices(BERT_BASE) | {"num_decoder_layers": (1, 6)}
    pair = SearchSpace(replace(BERT_BASE, num_decoder_layers=6), choices)
    assert make_lessons(THREE, pair, Settings()) == []
    both = HERE.with_recipes(["logits", "pkd"])
    assert make_lessons(THREE, both, Settings()) == []
    named = EarlierStudy(MINILM, [*THREE.trials, trial(HALF, 0.1, 4, recipe="pkd")], Settings())
    [lesson] = make_lessons(named, both, Settings())
    assert lesson["params"]["recipe"] == "pkd"
    assert len(make_lessons(named, HERE, Settings(), most=2)) == 2


def test_a_recipe_that_all_students_had_is_matched_by_its_name() -> None:
    shapes = [trial(SHALLOW, 0.8, 9), trial(HALF, 0.3, 4)]
    offered = HERE.with_recipes(["default", "transfer", "mine@0.3"])
    for recipe in ("transfer", "default", "recipes/mine.yaml@0.3"):
        earlier = EarlierStudy(MINILM, shapes, Settings(recipe=recipe))
        found = {one["params"]["recipe"] for one in make_lessons(earlier, offered, Settings())}
        assert found == {recipe.replace("recipes/mine.yaml", "mine")}
    other = EarlierStudy(MINILM, shapes, Settings(recipe="pkd"))
    assert make_lessons(other, offered, Settings()) == []


def test_weights_of_losses_are_part_of_a_recipes_name() -> None:
    offered = HERE.with_recipes(["pkd", "mine@0.3@logits=2"])
    shapes = [trial(SHALLOW, 0.8, 9), trial(HALF, 0.3, 4)]
    earlier = EarlierStudy(MINILM, shapes, Settings(recipe="recipes/mine.yaml@logits=2@0.3"))
    found = {one["params"]["recipe"] for one in make_lessons(earlier, offered, Settings())}
    assert found == {"mine@0.3@logits=2"}
    other = EarlierStudy(MINILM, shapes, Settings(recipe="recipes/mine.yaml@0.3"))
    assert make_lessons(other, offered, Settings()) == []


def test_their_weight_fades_as_trials_come() -> None:
    study = optuna.create_study(direction="maximize")
    space = CandidateSpace(HERE.distributions)
    assert len(Lessons.of(study, space)) == 0
    study.set_user_attr(LESSONS, 10 * make_lessons(THREE, HERE, Settings()))
    lessons = Lessons.of(study, space)
    nothing = lessons.weights(np.empty((0, len(space.names)), np.int64), np.empty(0))
    assert nothing.sum() == pytest.approx(WORTH * EXPECTED_TAU)
    codes = np.array([space.encode(one["params"]) for one in study.user_attrs[LESSONS][:3]])
    taught = np.array([one["scores"][0] for one in study.user_attrs[LESSONS][:3]])
    as_told, reversed_ = (lessons.weights(codes, sign * taught).sum() for sign in (1, -1))
    faded = WORTH / (WORTH + 3)
    assert as_told == pytest.approx(WORTH * faded * (3 + EXPECTED_TAU * PAIRS) / (3 + PAIRS))
    assert reversed_ == 0  # it misleads
    unknown = lessons.weights(codes, np.full(3, np.nan))
    assert unknown.tolist() == nothing.tolist()
    assert space.decode(lessons.best) == HERE.params(best_of(study, HERE)[0])


def test_the_controller_begins_where_earlier_students_were_good() -> None:
    shapes = [THERE.architectures[i] for i in range(0, len(THERE.architectures), 29)]
    wide = [trial(a, 1 - a.hidden_size / 400, 2.0) for a in shapes]
    found = {}
    for learns in (False, True):
        study = optuna.create_study(
            direction="maximize", sampler=make_sampler("lstm", HERE, seed=1, trials=12)
        )
        if learns:
            study.set_user_attr(
                LESSONS, make_lessons(EarlierStudy(MINILM, wide, Settings()), HERE, Settings())
            )
        found[learns] = [study.ask(HERE.distributions).params["hidden_size"] for _ in range(3)]
    assert np.mean(found[False]) < 600 < found[True][0]


def test_the_first_proposal_is_by_lessons_also_behind_queued_picks() -> None:
    shapes = [THERE.architectures[i] for i in range(0, len(THERE.architectures), 29)]
    wide = EarlierStudy(
        MINILM, [trial(a, 1 - a.hidden_size / 400, 2.0) for a in shapes], Settings()
    )
    sampler = make_sampler("gp", HERE, seed=1, trials=15)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.set_user_attr(LESSONS, make_lessons(wide, HERE, Settings()))
    study.enqueue_trial(HERE.params(Candidate(HERE.smallest)))
    for _ in range(3):
        study.ask(HERE.distributions)
    proposed = [one.system_attrs.get(PROPOSAL_ATTR) for one in study.get_trials()]
    assert proposed == [None, "controller", "random"]


def test_a_student_without_layers_says_nothing_of_those_with() -> None:
    static = Architecture(0, 1, 96, 1, "gelu")
    space = THERE.with_recipes(("default",), ("static",))
    spelled = create_trial(
        value=0.0,
        params=space.params(Candidate(static, "static")),
        distributions=space.distributions,
        user_attrs={"loss": 0.1, "speedup": 200},
    )
    lessons = make_lessons(
        EarlierStudy(MINILM, [*THREE.trials, spelled], Settings()), HERE, Settings()
    )
    assert len(lessons) == 3
    assert make_lessons(EarlierStudy(MINILM, [spelled], Settings()), HERE, Settings()) == []


def test_factorised_students_stand_for_factorised_ones() -> None:
    narrow = derive_choices(BERT_BASE) | {"embedding_size": (0, 64, 192)}
    here = SearchSpace(BERT_BASE, narrow, own_embeddings=768)
    shape = replace(HALF, embedding_size=48)  # a quarter of its hidden size
    earlier = SearchSpace(MINILM, derive_choices(MINILM) | {"embedding_size": (0, 48)})
    trials = [
        create_trial(
            value=0.0,
            params=earlier.params(Candidate(one)),
            distributions=earlier.distributions,
            user_attrs={"loss": loss, "speedup": 2.0},
        )
        for one, loss in ((HALF, 0.5), (shape, 0.1))
    ]
    found = make_lessons(EarlierStudy(MINILM, trials, Settings()), here, Settings())
    assert [one["params"]["embedding_size"] for one in found] == [64, 0]  # the best first
