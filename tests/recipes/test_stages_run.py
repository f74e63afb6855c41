from __future__ import annotations

import pytest

from kdnas.config import Settings
from kdnas.config.stages import LossName, Stage
from kdnas.config.weights import Weight
from kdnas.recipes.stages import schedule_of


@pytest.mark.parametrize(
    ("losses", "given", "frozen"),
    [
        ({"hidden": 1}, None, True),
        ({"hidden": 1, "embeddings": 1}, None, False),
        ({"hidden": 1, "embeddings": 0}, None, True),
        ({"hidden": 1, "embeddings": 1}, True, True),
        ({"hidden": 1, "task": 1}, None, False),
    ],
)
def test_word_embeddings_are_trained_where_something_is_learnt_of_them(
    losses: dict[LossName, Weight], given: bool | None, frozen: bool
) -> None:
    stage = Stage(
        name="some", data="task", losses=losses, epochs=1, lr=1e-3, freeze_embeddings=given
    )
    assert schedule_of(stage, Settings()).freeze_embeddings is frozen
    assert not schedule_of(stage, Settings(inherit=False)).freeze_embeddings or given
