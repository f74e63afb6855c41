"""One number from a candidate's loss and cost."""

from __future__ import annotations

from kdnas.config import Settings
from kdnas.scoring.costs import CostMeter, Costs

ALPHA = -0.06
BETA = 0.6


def reward(
    loss: float, cost: float, teacher_cost: float, alpha: float = ALPHA, beta: float = BETA
) -> float:
    """`(1 - loss) * (cost / (beta * teacher_cost)) ** alpha`, after MnasNet (Tan et al. 2019).

    It falls as the loss rises and rises as the cost falls, everywhere: where the loss exceeds 1,
    the cost's factor is inverted. beta is a constant factor and never changes a ranking among
    students of one sign; with alpha = -0.06, a student twice as fast earns 4% more.

    Args:
        loss: Held-out loss, the share of variance left unexplained.
        cost: Of the student: latency, MACs or parameters.
        teacher_cost: The same of the teacher.
        alpha: At most 0.
        beta: Above 0.

    Raises:
        ValueError: alpha is positive, or a cost or beta is not.
    """
    if alpha > 0:
        raise ValueError(f"invalid alpha {alpha}: expected 0 or less, or slow students earn more")
    if min(cost, teacher_cost, beta) <= 0:
        raise ValueError(f"invalid costs {cost}, {teacher_cost} or beta {beta}: expected above 0")
    quality = 1.0 - loss
    factor = float((cost / (beta * teacher_cost)) ** alpha)
    return quality * factor if quality >= 0 else quality / factor


def candidate_reward(score: float, costs: Costs, meter: CostMeter) -> float:
    """The reward of a score by the cost that the meter's settings weigh; see `limited_reward`."""
    student, teacher = {
        "latency": (costs.latency_ms, costs.teacher_latency_ms),
        "macs": (costs.macs, meter.teacher_macs),
        "params": (costs.params, meter.teacher_params),
    }[meter.settings.cost]
    return limited_reward(1 - score, student, teacher, meter.settings)


def limited_reward(loss: float, cost: float, teacher_cost: float, settings: Settings) -> float:
    """The reward of a loss and of the cost that settings weigh.

    A limit on that cost asks for the best student that keeps it: costing less earns nothing more.
    """
    limit = limit_on_cost(settings)
    if limit is not None:
        cost = max(cost, teacher_cost / limit if settings.cost == "latency" else limit)
    return reward(loss, cost, teacher_cost, settings.alpha, settings.beta)


def reward_at(loss: float, speedup: float, settings: Settings) -> float:
    """The reward of a loss and a speed-up, where settings weigh latency; see `limited_reward`."""
    return limited_reward(loss, 1 / speedup, 1.0, settings)


def limit_on_cost(settings: Settings) -> float | None:
    """The limit on the cost that the reward weighs: a speed-up, or parameters; None without one."""
    return {"latency": settings.speedup, "params": settings.max_params}.get(settings.cost)
