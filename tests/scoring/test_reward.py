import itertools
from collections.abc import Callable
from typing import Any

import pytest
from support.stepwise import Stepwise

from kdnas.runs.run_folder import Run
from kdnas.scoring.costs import CostMeter, Costs
from kdnas.scoring.reward import candidate_reward, reward


def test_golden_reward() -> None:
    assert reward(0.2, 0.03, 0.01, -0.06, 0.6**6) == pytest.approx(0.6231565465489873, abs=1e-15)


def test_twice_as_fast_earns_four_percent() -> None:
    assert reward(0.2, 1, 4) / reward(0.2, 2, 4) == pytest.approx(1.0425, abs=1e-4)


@pytest.mark.parametrize("alpha", [-0.06, -0.5, 0.0])
def test_it_falls_with_loss_and_never_falls_with_speed_everywhere(alpha: float) -> None:
    losses, costs = (0.0, 0.3, 0.99, 1.0, 1.01, 2.5, 10.0), (0.1, 0.59, 1.0, 3.0)
    for cost in costs:
        values = [reward(loss, cost, 1.0, alpha) for loss in losses]
        assert all(a > b for a, b in itertools.pairwise(values))
    for loss in losses:
        values = [reward(loss, cost, 1.0, alpha) for cost in costs]
        strict = alpha < 0 and loss != 1.0
        assert all(a > b if strict else a >= b for a, b in itertools.pairwise(values))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="invalid alpha 0.1"):
        reward(0.1, 1, 1, alpha=0.1)
    with pytest.raises(ValueError, match="above 0"):
        reward(0.1, 0, 1)


def test_within_a_limit_on_the_cost_less_of_it_earns_nothing(
    make_run: Callable[..., Run],
) -> None:
    pipeline = Stepwise(make_run())
    costs = [Costs(n, n, 100 / fast, 0.0, 100.0, fast) for n, fast in ((900, 4), (500, 8))]

    def worth(**changes: Any) -> list[float]:
        settings = pipeline.settings.model_copy(update=changes)
        meter = CostMeter(pipeline.teacher.model, settings)
        return [candidate_reward(0.5, one, meter) for one in costs]

    near, fast = worth(speedup=4)
    assert near == fast == reward(0.5, 1, 4)
    slow, quick = worth()
    assert slow == near and quick / slow == pytest.approx(2**0.06), "no limit"
    large, small = worth(cost="params", max_params=1000)
    assert large == small, "the limit is on parameters"
    near, fast = worth(max_params=1000)
    assert fast > near, "the limit is on something else"
