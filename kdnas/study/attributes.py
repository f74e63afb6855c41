"""Attributes of trials and studies that workers, samplers and reports share."""

from __future__ import annotations

# User attributes of a trial that say where it comes from.
CONTINUES = "continues"
"""Number of the trial whose training it continues on the next rung."""
RETRY_OF = "retry_of"
"""Number of the failed trial whose candidate it tries again."""
REPEATS = "repeats"
"""Number of the trial whose result it copies: the candidate was known already."""
BORROWED = "borrowed"
"""In a control: number of the search's own trial whose result it copies."""

# User attributes of a trial that say who works on it.
WORKER = "worker"
"""Name of the process."""
BEGUN = "begun"
"""Set once its worker has claimed it."""
DEATHS = "deaths"
"""Workers that died while they worked on this candidate."""
GIVEN_BACK = "given_back"
"""Of a failed trial that never began: the trial or budget that it was in conflict with."""
GIVEN_UP = "given_up"
"""Of a failed trial whose candidate must not be tried again."""

# User attributes of a trial that say what it found and cost.
INFEASIBLE = "infeasible"
"""Set where the student breaks a limit, so that it was not trained."""
RUNTIME = "latency_runtime"
"""The runtime that it was timed in, with its version."""
UNITS = "units"
"""What it costs, in trainings to the first rung."""
RUNG = "rung"
"""Of a pruned trial: the share of the full training that it had, in (0, 1)."""
RUNG_VALUES = "rung_values"
"""Of a pruned trial: its objective values at that rung."""
ERROR = "error"
"""Of a failed trial: why."""

# System attributes of a trial.
HEARTBEAT = "kdnas:beat"
"""A count that rises while its worker lives."""
PROPOSAL_ATTR = "lstm:proposal"
"""Who proposed it: `random` or `controller`."""
EPSILON_ATTR = "lstm:epsilon"
"""Share of random trials in its episode."""
CHOICE_ATTR = "lstm:choice"
"""Index of each parameter's choice, for other workers to see before the parameters are there."""
FIXED_ATTR = "fixed_params"
"""Optuna's own: the parameters of an enqueued trial."""

# User attributes of a study.
SETTINGS = "settings"
"""The settings of the run that began it."""
FINGERPRINTS = "fingerprints"
"""What its teacher and data are."""
