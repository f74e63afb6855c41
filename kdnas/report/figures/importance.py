"""Which fields of an architecture matter: functional ANOVA, and parallel coordinates."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial

from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.page import Section, Table
from kdnas.report.trials_table import finished
from kdnas.runtime.formatting import several
from kdnas.space.families import FIELDS
from kdnas.study.study import evaluated

TITLE = "What matters"
TOLD = (
    "The share of the differences between students that each parameter explains: functional ANOVA "
    "(Hutter et al. 2014) over the trials of this search, not over the whole space."
)
PARALLEL = "Parallel coordinates"
PARALLEL_TOLD = (
    "A line a student; the higher its score, the further its colour from the background. Drag "
    "along an axis to keep the students of a range, drag its name to move it. The table of the "
    "search's course has the same students."
)
FEWEST = 8
TREES = 32
NAMES = dict(zip(FIELDS, ("layers", "heads", "hidden size", "neurons", "activation"), strict=True))
TARGETS = {"score": "loss", "speed-up": "speedup", "reward": "reward"}


def importance_section(data: ReportData) -> Section:
    """A bar a parameter, for score, speed-up and reward."""
    count = len(evaluated(data.study))
    if count < FEWEST:
        trials = several(count, "finished trial")
        missing = f"{trials}: too few; this is shown from {FEWEST} on."
        return Section("matter", TITLE, TOLD, missing=missing)
    shares = {name: importances(data.study, key) for name, key in TARGETS.items()}
    figure = style.figure(height=380, barmode="group")
    colours = (style.STUDENT, style.GOOD, style.FRONT)
    for (name, share), colour in zip(shares.items(), colours, strict=True):
        figure.add_bar(
            y=list(NAMES.values()),
            x=[share.get(field, 0.0) for field in FIELDS],
            orientation="h",
            name=name,
            marker={"color": colour},
            hovertemplate=f"%{{y}}: %{{x:.0%}} of the {name}<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(tickformat=".0%", title={"text": "share explained"})
    rows = [
        (NAMES[field], *(f"{share.get(field, 0.0):.1%}" for share in shares.values()))
        for field in FIELDS
    ]
    return Section("matter", TITLE, TOLD, {"all": figure}, Table(("", *shares), rows))


def importances(study: Study, attribute: str) -> dict[str, float]:
    """The share of an attribute's variance that each parameter explains; they sum to 1."""
    counted = optuna.create_study()  # without repeats, which would count twice
    counted.add_trials([_single(trial) for trial in evaluated(study)])
    evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = get_param_importances(
            counted, evaluator=evaluator, target=lambda trial: float(trial.user_attrs[attribute])
        )
    return {name: float(share) for name, share in shares.items()}


def _single(trial: FrozenTrial) -> FrozenTrial:
    """A trial with one value, also of a search with two objectives."""
    return optuna.create_trial(
        params=trial.params,
        distributions=trial.distributions,
        user_attrs=trial.user_attrs,
        value=float(trial.user_attrs["reward"]),
    )


def parallel_section(data: ReportData) -> Section:
    """Every finished student, through its parameters to what it is worth."""
    rows = finished(data.table)
    if rows.empty:
        missing = "No trial is finished yet."
        return Section("parallel", PARALLEL, PARALLEL_TOLD, missing=missing)
    figure = style.figure(height=420, margin={"l": 40, "r": 48, "t": 64, "b": 24})
    score = rows.score.astype(float)
    figure.add_parcoords(
        dimensions=[
            *(_choices(NAMES[field], rows[field]) for field in FIELDS),
            _speedups(rows.speedup.astype(float)),
            {"label": "score", "values": score},
            {"label": "reward", "values": rows.reward.astype(float)},
        ],
        line={"color": score, "colorscale": style.SCALE},
        labelfont={"color": style.INK},
        tickfont={"color": style.INK},
        rangefont={"color": style.MUTED},
        unselected={"line": {"color": style.GRID, "opacity": 0.4}},
    )
    return Section("parallel", PARALLEL, PARALLEL_TOLD, {"all": figure}, least_width=680)


def _speedups(column: pd.Series) -> dict[str, Any]:
    """An axis on which each doubling takes the same room."""
    values = np.log2(column)
    low, high = int(np.floor(values.min())), int(np.ceil(values.max()))
    doublings = range(low, max(high, low + 1) + 1)
    return {
        "label": "speed-up",
        "values": values,
        "tickvals": list(doublings),
        "ticktext": [f"{2.0**n:g}x" for n in doublings],
        "range": [doublings[0], doublings[-1]],
    }


def _choices(name: str, column: pd.Series) -> dict[str, Any]:
    """An axis with a tick a choice; choices stand evenly, whatever their values."""
    choices = sorted(column.unique())
    places = {choice: i for i, choice in enumerate(choices)}
    return {
        "label": name,
        "values": column.map(places).astype(int),
        "tickvals": list(places.values()),
        "ticktext": [style.plain(choice) for choice in choices],
        "range": [-0.2, max(1, len(choices) - 1) + 0.2],
    }
