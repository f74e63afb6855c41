"""Trials as rows of plain values, and back."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState, create_trial
from support.tiny import small_config

from kdnas.config import Settings
from kdnas.space import SearchSpace
from kdnas.space.architecture import FIELDS
from kdnas.study.rows import ALL_COLUMNS, candidate_of, row_of, trial_of


@pytest.mark.parametrize("size", [0, 8])
def test_a_trial_with_factorised_embeddings_survives_a_row(size: int) -> None:
    replaced = {"embedding_size": ["teacher", 4, 8]}
    space = SearchSpace.from_teacher(small_config("deberta-v2"), "t", replaced)
    settings = Settings()
    candidate = next(
        c for c in space.candidates if c.architecture.params.get("embedding_size", 0) == size
    )
    measured = {"params": 9, "macs": 9, "speedup": 2.0, "loss": 0.5, "reward": 0.5}
    trial = create_trial(
        value=0.5,
        params=space.params(candidate),
        distributions=space.distributions,
        user_attrs=measured,
    )
    row = row_of(trial, settings)
    assert row.keys() <= {*ALL_COLUMNS} and row.get("embedding_size", 0) == size
    assert candidate_of(row) == candidate
    assert trial_of({**row, "score": 0.5}, space, settings).params == trial.params


def test_a_trial_whose_process_died_while_it_was_drawn_has_no_candidate() -> None:
    space = SearchSpace.from_teacher(small_config("bert"), "t")
    settings, drawn = Settings(), dict(list(space.params(space.candidates[0]).items())[:3])
    trial = create_trial(
        state=TrialState.FAIL,
        params=drawn,
        distributions={name: space.distributions[name] for name in drawn},
    )
    row = row_of(trial, settings)
    assert not row.keys() & {*FIELDS}
    assert trial_of(row, space, settings).params == {}
