"""Trials that a search saw faster than they are: timed again, their speed-up did not hold."""

from __future__ import annotations

import pandas as pd

from kdnas.config import Settings
from kdnas.report.trials_table import finished, records
from kdnas.runs.run_folder import Run
from kdnas.scoring.reward import reward_at

# The event of a trial that is timed again before a student is chosen.
TIMED_AGAIN = "timed again"
# From this factor on, a second timing contradicts the first: other work threw that out.
APART = 1.5


def as_timed_again(table: pd.DataFrame, run: Run, settings: Settings) -> pd.DataFrame:
    """A search's trials, those that a second timing contradicts with its speed-up and reward.

    Those whose two timings differ less stay as the search saw them, as all that were timed once do.
    """
    known = run.events(TIMED_AGAIN, trial=int, speedup=float)
    again = {one["trial"]: one["speedup"] for one in known}
    found = table.copy()
    for row in records(finished(table)):
        fast = again.get(int(row["number"]))
        if fast and row["speedup"] > APART * fast:
            own = found.number == row["number"]
            found.loc[own, "speedup"] = fast
            if settings.cost == "latency":
                found.loc[own, "reward"] = reward_at(row["loss"], fast, settings)
    return found
