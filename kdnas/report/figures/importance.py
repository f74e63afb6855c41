"""Which fields of an architecture matter: functional ANOVA, and parallel coordinates."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import create_trial

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
# What is explained: its name, its attribute in a trial, its colour.
TARGETS = (
    *(("score", "loss", style.STUDENT), ("speed-up", "speedup", style.GOOD)),
    ("reward", "reward", style.FRONT),
)


def importance_section(data: ReportData) -> Section:
    """A bar a parameter, for score, speed-up and reward."""
    count = len(evaluated(data.study))
    if count < FEWEST:
        trials = several(count, "finished trial")
        missing = f"{trials}: too few; this is shown from {FEWEST} on."
        return Section("matter", TITLE, TOLD, missing=missing)
    x = {"tickformat": ".0%", "title": {"text": "share explained"}}
    figure = style.figure(x, {"autorange": "reversed"}, 380, barmode="group")
    table = pd.DataFrame(index=list(NAMES.values()))
    for name, attribute, colour in TARGETS:
        shares = importances(data.study, attribute)
        table[name] = [shares.get(field, 0.0) for field in FIELDS]
        figure.add_bar(
            y=table.index,
            x=table[name],
            orientation="h",
            name=name,
            marker={"color": colour},
            hovertemplate=f"%{{y}}: %{{x:.0%}} of the {name}<extra></extra>",
        )
    rows = [(field, *map("{:.1%}".format, shares)) for field, *shares in table.itertuples()]
    return Section("matter", TITLE, TOLD, {"all": figure}, Table(("", *table.columns), rows))


def importances(study: Study, attribute: str) -> dict[str, float]:
    """The share of an attribute's variance that each parameter explains; they sum to 1."""
    # Without repeats, which would count twice, and with one value a trial, also of two objectives.
    counted = optuna.create_study()
    for t in evaluated(study):
        value = float(t.user_attrs[attribute])
        counted.add_trial(create_trial(params=t.params, distributions=t.distributions, value=value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=0)
        return get_param_importances(counted, evaluator=evaluator)


def parallel_section(data: ReportData) -> Section:
    """Every finished student, through its parameters to what it is worth."""
    rows = finished(data.table)
    if rows.empty:
        missing = "No trial is finished yet."
        return Section("parallel", PARALLEL, PARALLEL_TOLD, missing=missing)
    score = rows.score.astype(float)
    figure = style.figure(margin={"l": 40, "r": 48, "t": 64, "b": 24})
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
    doublings = list(range(low, max(high, low + 1) + 1))
    return {
        **{"label": "speed-up", "values": values, "range": [doublings[0], doublings[-1]]},
        **{"tickvals": doublings, "ticktext": [f"{2.0**n:g}x" for n in doublings]},
    }


def _choices(name: str, column: pd.Series) -> dict[str, Any]:
    """An axis with a tick a choice; choices stand evenly, whatever their values."""
    codes, choices = pd.factorize(column, sort=True)
    return {
        **{"label": name, "values": codes, "range": [-0.2, max(1, len(choices) - 1) + 0.2]},
        "tickvals": list(range(len(choices))),
        "ticktext": [style.plain(choice) for choice in choices],
    }
