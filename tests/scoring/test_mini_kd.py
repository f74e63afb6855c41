"""Mini-KD with other losses and other scores than the hidden states'."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK
from support.stepwise import Stepwise

from kdnas.config import validated
from kdnas.distillation.losses.layer_weights import LayerWeights
from kdnas.distillation.losses.logits import logit_variance, unexplained_logits
from kdnas.distillation.outputs import State
from kdnas.distillation.training import predict
from kdnas.errors import KdnasError
from kdnas.recipes.stages import weighted_losses
from kdnas.runs.run_folder import Run
from kdnas.scoring.mini_kd import MiniKD
from kdnas.scoring.scorer import Budget
from kdnas.space import Architecture, Candidate
from kdnas.tasks import TASK_TYPES
from kdnas.tasks.encode import Units

SMALL = Architecture(2, 2, 16, 32, "gelu")
ALL = {"hidden": 1, "logits": 0.5, "relations": [1, 0], "embeddings": 0.1}


@pytest.fixture
def make(teacher_folder: Path, data_folder: Path, tmp_path: Path) -> Callable[..., Stepwise]:
    """Makes a pipeline on the small teacher."""

    def pipeline(name: str = "run", **changes: Any) -> Stepwise:
        settings = {"teacher": str(teacher_folder), "task": "mrpc", "data_dir": data_folder}
        own = {**settings, **QUICK, "out": tmp_path / name, **changes}
        return Stepwise(Run.create(validated(own)))

    return pipeline


def scored_by(mini: MiniKD, score: str) -> MiniKD:
    settings = mini.settings.model_copy(update={"mini_score": score})
    return MiniKD(mini.teacher, mini.proxy, settings, mini.runtime)


def test_any_losses_train_and_any_score_is_a_share_left_unexplained(
    make: Callable[..., Stepwise],
) -> None:
    mini = make(mini_losses=ALL, mini_score="mean").mini
    state = mini.start(Candidate(SMALL))
    mean = mini.train(state)
    hidden, logits = (scored_by(mini, name).heldout_loss(state) for name in ("hidden", "logits"))
    assert 0 < hidden < 1 and logits > 0 and mean == pytest.approx((hidden + logits) / 2)

    proxy, store = mini.proxy, mini.proxy.store
    assert store.logits is not None
    heldout = proxy.data.take(proxy.heldout)
    said = predict(state.model, heldout, mini.runtime, pad_id=0)
    task = TASK_TYPES["classification"]
    one = Units(torch.arange(len(store.logits)))
    variance = logit_variance(task.centred(store.logits, one))
    both = task.centred(said, one), task.centred(store.logits[proxy.heldout], one)
    by_hand = unexplained_logits(*both, variance)
    assert logits == pytest.approx(float(by_hand), rel=1e-4)


def test_a_score_by_the_last_layers_fits_their_projection_alone(
    make: Callable[..., Stepwise],
) -> None:
    mini = make(mini_losses={"hidden": 1}).mini
    state = mini.start(Candidate(SMALL))
    given = (mini.stage, state, mini.data, mini.settings, mini.runtime)
    whole = weighted_losses(*given).named["hidden"].state_dict()
    scored = weighted_losses(*given, scored=["hidden"]).named["hidden"].state_dict()
    assert torch.equal(whole["projections.1.weight"], scored["projections.1.weight"])
    assert not torch.equal(whole["projections.0.weight"], scored["projections.0.weight"])

    fresh = mini.heldout_loss(state)
    state.keep(weighted_losses(*given).named)
    assert mini.heldout_loss(state) == fresh


def test_the_untrained_score_changes_nothing_and_is_of_the_whole_run(
    make: Callable[..., Stepwise], tmp_path: Path
) -> None:
    for score in ("hidden", "agreement"):
        mini = make(f"run-{score}", mini_score=score).mini
        untrained = mini.heldout_loss(mini.start(Candidate(SMALL)))
        trained = mini.train(mini.start(Candidate(SMALL)))
        found = mini.score(Candidate(SMALL), Budget())
        assert found.initial == pytest.approx(1 - untrained)
        assert found.value == 1 - trained and found.value != found.initial
    paused = tmp_path / "paused.pt"
    assert mini.score(Candidate(SMALL), Budget(0.5, paused)).initial is not None
    assert mini.score(Candidate(SMALL), Budget(1.0, paused)).initial is None


def test_the_teacher_itself_leaves_nothing_of_its_logits_unexplained(
    make: Callable[..., Stepwise],
) -> None:
    pipeline = make(mini_losses={"logits": 1}, mini_score="logits")
    same = pipeline.mini.start(Candidate(pipeline.space.teacher))
    assert pipeline.mini.heldout_loss(same) == pytest.approx(0, abs=1e-4)


def test_logits_alone_can_be_scored_by_hidden_states_and_learn_logits(
    make: Callable[..., Stepwise],
) -> None:
    mini = make(mini_losses={"logits": 1}, mini_epochs=4, mini_lr=1e-3).mini
    state = mini.start(Candidate(SMALL))
    before = scored_by(mini, "logits").heldout_loss(state)
    loss = mini.train(state)
    assert 0 < loss < 1 and scored_by(mini, "logits").heldout_loss(state) < before
    assert not state.parts  # what scores it is fitted, not trained


def test_a_learnt_map_trains_and_is_scored_as_any_other(make: Callable[..., Stepwise]) -> None:
    """The held-out loss of one and the same student does not know how it was trained."""
    pipeline = make(mapping="learned", mini_epochs=1)
    mini, depth = pipeline.mini, pipeline.space.teacher.num_hidden_layers
    assert {State("hidden", i) for i in range(1, depth + 1)} <= set(mini.proxy.store.states)
    state = mini.start(Candidate(SMALL))
    loss = mini.train(state)
    start = LayerWeights(2, depth)
    learnt = state.parts["hidden"]["weights.affinity"]
    assert 0 < loss < 1 and not torch.equal(learnt, start.affinity)
    settings = mini.settings.model_copy(update={"mapping": "skip+last"})
    state.parts.clear()
    assert MiniKD(mini.teacher, mini.proxy, settings, mini.runtime).heldout_loss(state) == loss


@pytest.mark.parametrize("loss", ["attention", "first-token"])
def test_mapped_losses_train_and_score(
    make: Callable[..., Stepwise], make_teacher: Callable[..., Path], loss: str
) -> None:
    # At the usual spread of first weights, the teacher's first token is the same for every text.
    teacher = str(make_teacher(initializer_range=0.3))
    given = {"mini_losses": {loss: 1}, "mini_score": loss, "mini_epochs": 6, "mini_lr": 1e-3}
    mini = make(teacher=teacher, proxy_fraction=1.0, **given).mini
    equal = replace(SMALL, num_attention_heads=4)
    before = mini.heldout_loss(mini.start(Candidate(equal)))
    state = mini.start(Candidate(equal))
    after = mini.train(state)
    assert 0 < after < 0.95 * before
    assert state.parts.keys() == ({"first-token"} if loss == "first-token" else set())


def test_a_first_token_that_hardly_varies_stays_learnt(make: Callable[..., Stepwise]) -> None:
    """Its fitted projection is all but a constant, which steps of the student leave as it is.

    The start is nearly the optimum, so no training lowers it: the first step of Adam moves each
    weight by the whole rate. Fitted to the rounding of the states, the projection made 0.09 of it,
    on other processors 0.2.
    """
    given = {"mini_losses": {"first-token": 1}, "mini_score": "first-token"}
    mini = make(**given, mini_epochs=2, mini_lr=1e-3).mini
    equal = replace(SMALL, num_attention_heads=4)
    before = mini.heldout_loss(mini.start(Candidate(equal)))
    after = mini.train(mini.start(Candidate(equal)))
    assert before < 1e-4 and after < 0.01


def test_a_training_that_paused_ends_where_one_that_did_not_ends(
    make: Callable[..., Stepwise], tmp_path: Path
) -> None:
    mini = make(mini_losses=ALL, mini_score="mean", mini_epochs=2).mini
    straight = mini.train(mini.start(Candidate(SMALL)))
    file = tmp_path / "paused.pt"
    half = mini.train(mini.start(Candidate(SMALL)), until=0.5, checkpoint=file)
    assert mini.train(mini.start(Candidate(SMALL)), checkpoint=file) == pytest.approx(
        straight, rel=1e-5
    )
    assert half != pytest.approx(straight, rel=1e-3)


def test_logits_of_a_teacher_without_head_are_refused_before_anything_is_computed(
    make: Callable[..., Stepwise], tmp_path: Path
) -> None:
    pipeline = make(teacher_as_is=True, mini_losses={"hidden": 1, "logits": 1})
    with pytest.raises(KdnasError, match="stage 'mini-kd' learns from logits, but the teacher"):
        pipeline.everything()
    assert {p.name for p in (tmp_path / "run").iterdir()} <= {"config.yaml", ".lock"}
    make("other", teacher_as_is=True).check()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"mini_losses": {"hidden": 0}},
            "invalid --mini-losses {'hidden': 0}: expected a weight above 0",
        ),
        ({"mini_losses": {}}, "invalid --mini-losses {}: expected at least 1 item"),
        (
            {"mini_losses": {"hidden": -1}},
            "invalid --mini-losses.hidden -1: expected a number from 0 to 1,000,000, or",
        ),
    ],
)
def test_losses_that_cannot_be_are_refused_in_one_line(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(KdnasError) as caught:
        validated(values)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)
