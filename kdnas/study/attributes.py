"""Attributes of trials and studies that workers, samplers and reports share."""

from __future__ import annotations

# User attributes of a trial: where it comes from.
PICKED = "picked"  # queued before the search began
CONTINUES = "continues"  # number of the trial whose training it continues on the next rung
RETRY_OF = "retry_of"  # number of the failed trial whose candidate it tries again
REPEATS = "repeats"  # number of the trial of the same candidate whose result it copies
BORROWED = "borrowed"  # in a control: number of the search's own trial whose result it copies

# Who works on it.
ASKED = "asked"  # name of the process that asked for it, and may have died before it was drawn
WORKER = "worker"  # name of the process
BEGUN = "begun"  # set once its worker has claimed it
DEATHS = "deaths"  # workers that died while they worked on this candidate
GIVEN_BACK = "given_back"  # failed before it began: the trial or budget it was in conflict with
GIVEN_UP = "given_up"  # failed, and its candidate must not be tried again

# What it found and cost.
HEADS_LEFT = "heads_by_layer"  # of a pruned student: `12,8,0`
NEURONS_LEFT = "neurons_by_layer"
INFEASIBLE = "infeasible"  # set where the student breaks a limit, so that it was not trained
RUNTIME = "latency_runtime"  # the runtime that it was timed in, with its version
UNITS = "units"  # what it costs, in trainings to the first rung
INITIAL = "initial_loss"  # the loss of its student before any training
RUNG = "rung"  # pruned: the share of the full training that it had, in (0, 1)
RUNG_VALUES = "rung_values"  # pruned: its objective values at that rung
ERROR = "error"  # failed: why

# System attributes of a trial.
HEARTBEAT = "kdnas:beat"  # a count that rises while its worker lives
PROPOSAL_ATTR = "lstm:proposal"  # who proposed it: `random` or `controller`
EPSILON_ATTR = "lstm:epsilon"  # share of random trials in its episode
CHOICE_ATTR = "lstm:choice"  # index of each parameter's choice, seen before the parameters are
FIXED_ATTR = "fixed_params"  # Optuna's own: the parameters of an enqueued trial

# User attributes of a study.
SETTINGS = "settings"  # the settings of the run that began it
FINGERPRINTS = "fingerprints"  # what its teacher and data are
DEADLINE = "deadline"  # when its search ends, where it has a time
WARM = "warm"  # set once all that it begins with is queued
LESSONS = "lessons"  # what earlier studies say of its candidates
