"""The limits that no student may break, in Optuna's own form."""

from __future__ import annotations

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
    words = {
        "speedup": f"too slow for --speedup {settings.speedup or 0:g}",
        "params": f"too large for --max-params {settings.max_params or 0:,}",
    }
    return ", ".join(words[name] for name, value in broken.items() if value > 0)
