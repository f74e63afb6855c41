"""The ensemble of predictors: what it learns, and that nothing else is touched by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kdnas.errors import KdnasError
from kdnas.study.samplers._controller import Controllers, LSTMs, predict, train_controllers
from studies import two_functions

SETTINGS = {"members": 4, "steps": 60, "learning_rate": 1e-2}


def train_on_sample(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Train on 60 of 1,500 points of two functions; return truth and predictions of the rest."""
    space, codes, truth, seen = two_functions(60)
    targets = truth[seen]
    targets[::4, 1] = np.nan  # as of trials that were never trained
    controllers = train_controllers(
        space.levels, codes[seen[:2]], codes[seen], targets, np.ones(60), seed=seed, **SETTINGS
    )
    unseen = np.delete(np.arange(len(codes)), seen)
    return truth[unseen], predict(controllers, codes[seen[:2]], codes[unseen])


def test_the_ensemble_ranks_architectures_it_has_not_seen() -> None:
    truth, predicted = train_on_sample()
    assert predicted.shape == (4, 1440, 2)
    for output in range(2):
        mean = predicted[:, :, output].mean(axis=0)
        assert np.corrcoef(truth[:, output], mean)[0, 1] > 0.85


def test_members_disagree_less_where_trials_are() -> None:
    codes = np.arange(10)[:, None]
    levels = [np.linspace(-1, 1, 10)]
    seen = codes[:4]
    controllers = train_controllers(
        levels, seen[:2], seen, np.sin(seen.astype(float)), np.ones(4), seed=0, **SETTINGS
    )
    spread = predict(controllers, seen[:2], codes)[:, :, 0].std(axis=0)
    assert spread[:4].max() < spread[7:].min()


def test_weights_decide_between_trials_that_contradict_each_other() -> None:
    codes, levels = np.zeros((2, 1), dtype=np.int64), [np.array([-1.0, 1.0])]
    controllers = train_controllers(
        levels, codes, codes, np.array([[1.0], [-1.0]]), np.array([3.0, 1.0]), seed=0, **SETTINGS
    )
    assert predict(controllers, codes, codes[:1]).mean() == pytest.approx(0.5, abs=0.1)


def test_the_members_are_torchs_lstm() -> None:
    levels = [np.linspace(-1, 1, 4), np.zeros(3)]
    ours = Controllers(levels, members=2, outputs=1, generator=torch.Generator().manual_seed(0))
    context, codes = torch.tensor([[0, 1], [3, 2]]), torch.tensor([[1, 0], [2, 2], [0, 0]])
    member = 1
    lstm = torch.nn.LSTM(ours.input.shape[1], ours.recurrent.shape[1], batch_first=True)
    # Ours are (in, forget)-ordered as enter, leave, keep, update; torch's i, f, g, o.
    order = torch.tensor([0, 2, 3, 1])

    def reorder(weight: torch.Tensor) -> torch.Tensor:
        return weight.T.unflatten(0, (4, -1))[order].flatten(0, 1)

    sequences = torch.stack([torch.cat([context, code[None]]) for code in codes])
    rows = sequences + ours.offsets
    values = ours.levels[rows].sum(2)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(reorder(ours.input[member]))
        lstm.weight_hh_l0.copy_(reorder(ours.recurrent[member]))
        lstm.bias_ih_l0.copy_(reorder(ours.gates[member])[:, 0])
        lstm.bias_hh_l0.zero_()
        inputs = torch.cat([ours.embeddings[member][rows].flatten(2), values], dim=-1)
        states = lstm(inputs)[0][:, -1]
        expected = states @ ours.head[member] + values[:, -1] @ ours.linear[member]
        found = ours(context, codes)[member]
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


def test_training_neither_reads_nor_changes_the_global_random_state() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    _, first = train_on_sample()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    with torch.inference_mode():
        _, second = train_on_sample()
    assert first.tolist() == second.tolist()
    assert first.tolist() != train_on_sample(seed=1)[1].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": 0}, "members must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(KdnasError, match=message):
        LSTMs(**options)  # type: ignore[arg-type]
