"""The limits that no student may break, in Optuna's own form."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.trial import FrozenTrial

from kdnas.config import Settings

# A student that just passes would miss the wanted speed-up half of the time when it is timed again.
MARGIN = 1.03


def violations(settings: Settings, speedup: float, params: int) -> dict[str, float]:
    """How far each limit of the settings is overstepped, as a share of it.

    Values above 0 break a limit, as in `optuna.trial.Trial.set_constraint`, through which every
    sampler of Optuna's learns of them.

    Args:
        settings: Of the run.
        speedup: Measured.
        params: Counted.
    """
    found = {}
    if settings.speedup is not None:
        found["speedup"] = MARGIN * settings.speedup / speedup - 1
    if settings.max_params is not None:
        found["params"] = params / settings.max_params - 1
    return found


def described(settings: Settings, broken: dict[str, float]) -> str:
    """Why a student is not trained."""
    spare = f"{MARGIN - 1:.0%} to spare"
    words = {
        "speedup": f"too slow for --speedup {settings.speedup or 0:g} with {spare}",
        "params": f"too large for --max-params {settings.max_params or 0:,}",
    }
    return ", ".join(words[name] for name, value in broken.items() if value > 0)


def all_beyond(trials: Sequence[FrozenTrial], settings: Settings | None = None) -> str:
    """What to say where students were tried and none keeps the limits.

    Args:
        trials: Those that break a limit; at least one.
        settings: Of the run, if at hand.
    """
    fastest = max(trials, key=lambda t: float(t.user_attrs["speedup"])).user_attrs
    smallest = min(trials, key=lambda t: int(t.user_attrs["params"])).user_attrs
    wanted = []
    if settings and settings.speedup is not None:
        wanted.append(f"--speedup {settings.speedup:g}")
    if settings and settings.max_params is not None:
        wanted.append(f"--max-params {settings.max_params:,}")
    limits = " and ".join(wanted) or "the run's limits"
    return (
        f"none of the {len(trials)} students tried keeps {limits}: the fastest, with "
        f"{fastest['params']:,} parameters, is {fastest['speedup']:.2f} times as fast as the "
        f"teacher, the smallest has {smallest['params']:,} parameters; loosen a limit or give "
        "smaller students in `space`"
    )
