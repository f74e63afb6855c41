"""The attributes of a trial by which the search and its samplers understand each other."""

from __future__ import annotations

RUNG = "rung"
"""User attribute of a pruned trial: the share of the full training that it had, in (0, 1)."""

RUNG_VALUES = "rung_values"
"""User attribute of a pruned trial: its objective values at that rung, as the study's values."""

GIVEN_UP = "given_up"
"""User attribute of a failed trial whose parameters are not to be tried again."""

RETRY_OF = "retry_of"
"""User attribute of a trial: the number of the trial whose architecture it tries again."""

GIVEN_BACK = "given_back"
"""User attribute of a failed trial that ended before it began: what it was at odds with."""

PROPOSAL_ATTR = "lstm:proposal"
"""System attribute: who proposed the trial, `random` or `controller`."""

EPSILON_ATTR = "lstm:epsilon"
"""System attribute: the share of random trials in the trial's episode."""

CHOICE_ATTR = "lstm:choice"
"""System attribute: index of each parameter's choice, for other workers to see."""

FIXED_ATTR = "fixed_params"
"""System attribute in which Optuna keeps the parameters of an enqueued trial."""
