"""Times as people type them."""

from __future__ import annotations

import pytest

from kdnas.config import Settings, load_settings
from kdnas.config.duration import duration, seconds_of
from kdnas.config.options.base import MOST_TRIALS
from kdnas.errors import KdnasError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45m", 2700), ("1h30m", 5400), ("90s", 90), ("2h", 7200), ("1 h 5 s", 3605), ("1D", 86_400)],
)
def test_read_as_people_mean_them(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds == seconds_of(duration(seconds))


@pytest.mark.parametrize("text", ["45", "m", "", "0m", "-5m", "1.5h", "5m1h", "999999d"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time such as 45m, 1h30m or 90s"):
        seconds_of(text)


def test_time_takes_the_place_of_the_number_of_trials_unless_both_are_given() -> None:
    alone = Settings(budget="45m")
    assert alone.trials == MOST_TRIALS and not alone.ends_by_trials
    assert alone.budget_seconds == 2700
    both = Settings(budget="45m", trials=8)
    assert both.trials == 8 and both.ends_by_trials
    assert Settings().trials == 20 and Settings().budget_seconds == float("inf")
    with pytest.raises(KdnasError, match=r"invalid --budget soon: expected a time such as 45m"):
        load_settings((), {"budget": "soon"})


def test_a_share_of_the_epochs_keeps_the_stages() -> None:
    whole, half = Settings(epochs=4, task_epochs=2), Settings(
        epochs=4, task_epochs=2, epochs_share=0.5
    )  # fmt: skip
    assert [stage.epochs for stage in whole.full_stages] == [4, 2]
    assert [stage.epochs for stage in half.full_stages] == [2, 1]
    assert [s.losses for s in half.full_stages] == [s.losses for s in whole.full_stages]
