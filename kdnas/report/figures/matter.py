"""Which parameters of an architecture matter, by Optuna's functional ANOVA."""

from __future__ import annotations

import warnings

import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.report.facts import Facts
from kdnas.report.figures import style
from kdnas.report.page import Section, Table
from kdnas.runtime.formatting import several
from kdnas.space.families import FIELDS
from kdnas.study.trials import evaluated

TITLE = "What matters"
TOLD = (
    "The share of the differences between students that each parameter explains: functional ANOVA "
    "(Hutter et al. 2014) over the trials of this search, not over the whole space."
)
FEWEST = 8
TREES = 32
NAMES = dict(zip(FIELDS, ("layers", "heads", "hidden size", "neurons", "activation"), strict=True))


def matter_section(facts: Facts) -> Section:
    """A bar a parameter, for score, speed-up and reward."""
    count = len(evaluated(facts.study))
    if count < FEWEST:
        trials = several(count, "finished trial")
        missing = f"{trials}: too few to tell; from {FEWEST} on this is shown."
        return Section("matter", TITLE, TOLD, missing=missing)
    shares = {name: importances(facts.study, key) for name, key in TARGETS.items()}
    figure = style.figure(height=380, barmode="group")
    colours = (style.STUDENT, style.GOOD, style.FRONT)
    for (name, found), colour in zip(shares.items(), colours, strict=True):
        figure.add_bar(
            y=list(NAMES.values()),
            x=[found.get(field, 0.0) for field in FIELDS],
            orientation="h",
            name=name,
            marker={"color": colour},
            hovertemplate=f"%{{y}}: %{{x:.0%}} of the {name}<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(tickformat=".0%", title={"text": "share explained"})
    rows = [
        (NAMES[field], *(f"{found.get(field, 0.0):.1%}" for found in shares.values()))
        for field in FIELDS
    ]
    return Section("matter", TITLE, TOLD, {"all": figure}, Table(("", *shares), rows))


TARGETS = {"score": "loss", "speed-up": "speedup", "reward": "reward"}


def importances(study: Study, attribute: str) -> dict[str, float]:
    """The share of an attribute's variance that each parameter explains; they sum to 1."""

    def target(trial: FrozenTrial) -> float:
        return float(trial.user_attrs[attribute])

    counted = optuna.create_study()  # without repeats, which would count twice
    counted.add_trials([_single(trial) for trial in evaluated(study)])
    evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_param_importances(counted, evaluator=evaluator, target=target)
    return {name: float(share) for name, share in found.items()}


def _single(trial: FrozenTrial) -> FrozenTrial:
    """A trial with one value, whatever it was searched for."""
    return optuna.create_trial(
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=trial.user_attrs,
        value=float(trial.user_attrs["reward"]),
    )
