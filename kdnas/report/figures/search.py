"""What a search did, trial by trial, and which fields of an architecture matter."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import plotly.graph_objects as go
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import create_trial

from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.page import Section, Table
from kdnas.report.search_summary import budget_words, found
from kdnas.report.trials_table import cells, finished, records
from kdnas.runtime.formatting import several
from kdnas.space.architecture import DECODER_FIELDS, EMBEDDINGS, ENCODERS, FIELDS
from kdnas.study.attributes import CONTINUES, INFEASIBLE, REPEATS, RUNG
from kdnas.study.rows import candidate_of
from kdnas.study.study import evaluated

COURSE = Section(
    "search",
    "Course of the search",
    "Each dot is a trial, higher is better; lines are the best reward so far{}. Students beyond a "
    "limit are not trained.",
)
BESIDE = ", of this search and of random search, {}"
RUNGS = (
    " Dots with a core went on from their rung as another trial. Random search trains all of its "
    "students to the end, so its line ends flat."
)
EXPLORED = " Below: the share of trials that the sampler leaves to chance."
HOVER = "trial %{x}<br>%{text}<br>reward %{y:.4f}"
HEAD = ("trial", "student", "state", "reward", "score", "speed-up", "proposed", "seconds")
MATTERS = Section(
    "matter",
    "What matters",
    "The share of the differences between students that each parameter explains: functional ANOVA "
    "(Hutter et al. 2014) over the trials of this search, not over the whole space.",
)
PARALLEL = Section(
    "parallel",
    "Parallel coordinates",
    "A line a student; the higher its score, the further its colour from the background. Drag "
    "along an axis to keep the students of a range, drag its name to move it. The table of the "
    "search's course has the same students.",
    least_width=680,
)
FEWEST = 8
TREES = 32
RECIPE = "recipe"
NAMES = dict(
    zip(
        (*FIELDS, *DECODER_FIELDS, EMBEDDINGS),
        (
            *("layers", "heads", "hidden size", "neurons", "activation"),
            *("decoder layers", "decoder heads", "decoder neurons", "embedding size"),
        ),
        strict=True,
    )
)
# What is explained: its name, its attribute in a trial, its colour and pattern.
TARGETS = (
    ("score", "loss", style.STUDENT, ""),
    ("speed-up", "speedup", style.GOOD, "/"),
    ("reward", "reward", style.FRONT, "."),
)


def course_section(data: ReportData) -> Section:
    """Rewards over trials, what was pruned or repeated, and the sampler's exploration."""
    explored = bool(data.table.epsilon.notna().any())
    beside = ""
    if data.control is not None:
        beside = BESIDE.format(budget_words(found(data.table), found(data.control)))
    told = COURSE.told.format(beside) + RUNGS * (data.settings.rungs > 1) + EXPLORED * explored
    table = Table(HEAD, _rows(data.table), caption="Every trial, in the order of its start.")
    section = replace(COURSE, told=told, table=table)
    if data.table.reward.isna().all():
        return replace(section, missing="No trial is scored yet.")
    return replace(section, views={"course": _course(data, explored)})


def _course(data: ReportData, explored: bool) -> go.Figure:
    table = data.table
    figure = style.figure("trial", "reward", 520 if explored else 420)
    end = max(int(t.number.max()) for t in (table, data.control) if t is not None)
    if data.control is not None:
        _add_best(figure, data.control, end, "random search", style.RANDOM, "dot")
    _add_best(figure, table, end, "best so far", style.FRONT, "solid")
    rungs = table[table[RUNG].notna() & table[REPEATS].isna()]
    gone_on = rungs.number.isin(_successors(table))
    lowest = float(table.reward.min())  # what has no reward stands at the bottom
    beyond = table[table[INFEASIBLE].notna()].assign(reward=lowest)
    failed = table[table.state == "FAIL"].assign(reward=lowest)
    for rows, name, colour, symbol in (
        (finished(table), "evaluated", style.STUDENT, "circle"),
        (rungs[~gone_on], "stopped on a rung", style.STUDENT, "circle-open"),
        (rungs[gone_on], "went on", style.STUDENT, "circle-open-dot"),
        (table[table[REPEATS].notna()], "repeated", style.CONTROL, "diamond-open"),
        (beyond, "beyond a limit", style.MUTED, "x-thin-open"),
        (failed, "failed", style.CONTROL, "x"),
    ):
        shown = rows[rows.num_hidden_layers.notna()]
        if shown.empty:
            continue
        figure.add_scatter(
            x=shown.number.astype(int),
            y=shown.reward.astype(float),
            mode="markers",
            name=name,
            text=[_label(row) for row in records(shown)],
            marker={"color": colour, "symbol": symbol, "size": 8},
            hovertemplate=f"{HOVER}<extra>{name}</extra>",
        )
    style.clip(figure, "y")
    if explored:
        _add_exploration(figure, table[table.epsilon.notna()], end)
    return figure


def _label(row: dict[str, Any]) -> str:
    label, proposed = style.plain(candidate_of(row).label), row["proposed"]
    return label if pd.isna(proposed) else f"{label}<br>proposed: {style.plain(proposed)}"


def _successors(table: pd.DataFrame) -> dict[int, int]:
    """Trials that went on from their rung, and the number that each went on as."""
    later = table[table[CONTINUES].notna() & (table.state != "FAIL")]
    pairs = zip(later[CONTINUES].astype(int), later.number.astype(int), strict=True)
    return dict(reversed(list(pairs)))  # the first of several counts


def _add_best(
    figure: go.Figure, table: pd.DataFrame, end: int, name: str, colour: str, dash: str
) -> None:
    rows = finished(table)
    if rows.empty:
        return
    best = rows.reward.astype(float).cummax()
    better = best > best.shift(fill_value=float("-inf"))
    figure.add_scatter(
        x=[*rows.number[better].astype(int), end],
        y=[*best[better], best.iloc[-1]],
        mode="lines+markers",  # a line of one trial has no length
        name=name,
        line={"shape": "hv", "color": colour, "dash": dash, "width": 2},
        marker={"size": 5},
        hoverinfo="skip",
    )


def _add_exploration(figure: go.Figure, known: pd.DataFrame, end: int) -> None:
    shares = known.epsilon.astype(float)
    figure.add_scatter(
        x=[*known.number.astype(int), end],
        y=[*shares, shares.iloc[-1]],
        mode="lines+markers",
        marker={"size": 4},
        name="left to chance",
        yaxis="y2",
        line={"shape": "hv", "color": style.GOOD, "width": 2},
        fill="tozeroy",
        hovertemplate="trial %{x}<br>%{y:.0%} left to chance<extra></extra>",
    )
    figure.update_layout(
        yaxis={"domain": [0.32, 1]},
        yaxis2={"domain": [0, 0.2], "range": [0, 1.05], "tickformat": ".0%", "nticks": 3},
        xaxis={"anchor": "y2"},
    )


def _rows(table: pd.DataFrame) -> list[list[str]]:
    successors = _successors(table)
    return [
        [
            *(f"{row['number']}", candidate_of(row).label),
            _state(row, successors.get(row["number"])),
            *cells(row, "reward", "score", "speedup", "proposed", "seconds"),
        ]
        for row in records(table[table.num_hidden_layers.notna()])
    ]


def _state(row: dict[str, Any], successor: int | None) -> str:
    if pd.notna(row[REPEATS]):
        return f"repeats {row[REPEATS]}"
    if pd.notna(row[INFEASIBLE]):
        return "beyond a limit"
    state = str(row["state"]).lower()
    if pd.notna(row[RUNG]):
        state = f"stopped at {row[RUNG]:.0%}"
    if successor is not None:
        state = f"went on as trial {successor}"
    return state + (f", continues {row[CONTINUES]}" if pd.notna(row[CONTINUES]) else "")


def importance_section(data: ReportData) -> Section:
    """A bar a parameter, for score, speed-up and reward."""
    count = len(evaluated(data.study)) if data.study else 0
    if data.study is None or count < FEWEST:
        few = f"{several(count, 'finished trial')}: too few; this is shown from {FEWEST} on."
        return replace(MATTERS, missing=few)
    x = {"tickformat": ".0%", "title": {"text": "share explained"}}
    figure = style.figure(x, {"autorange": "reversed"}, 380, barmode="group")
    fields = [name for name in NAMES if name in FIELDS or name in data.table]
    fields += [RECIPE] * (finished(data.table).recipe.nunique() > 1)
    table = pd.DataFrame(index=[NAMES.get(field, field) for field in fields])
    missing = []
    for name, attribute, colour, pattern in TARGETS:
        shares = importances(data.study, attribute)
        if not shares:
            missing.append(_unexplained(data.study, name, attribute))
            continue
        table[name] = [shares.get(field, 0.0) for field in fields]
        figure.add_bar(
            y=table.index,
            x=table[name],
            orientation="h",
            name=name,
            marker={"color": colour, "pattern": {"shape": pattern, "size": 6}},
            hovertemplate=f"%{{y}}: %{{x:.0%}} of the {name}<extra></extra>",
        )
    section = replace(MATTERS, missing=" ".join(missing))
    if table.empty:
        return section
    rows = [(field, *map("{:.1%}".format, shares)) for field, *shares in table.itertuples()]
    return replace(
        section,
        views={"all": figure},
        table=Table(("parameter", *table.columns), rows, caption="Shares explained."),
    )


def _unexplained(study: Study, name: str, attribute: str) -> str:
    """That no parameter explains a target, and why."""
    values = [float(t.user_attrs[attribute]) for t in evaluated(study)]
    why = f": all {len(values)} are equal" if len(set(values)) == 1 else ""
    return f"No parameter explains the {name}{why}."


def importances(study: Study, attribute: str) -> dict[str, float]:
    """The share of an attribute's variance that each parameter explains; they sum to 1.

    Empty where none explains any, as where all values are equal or differ by rounding alone.
    """
    # Without repeats, which would count twice, and with one value a trial, also of two objectives.
    counted = optuna.create_study()
    for t in evaluated(study):
        value = float(t.user_attrs[attribute])
        counted.add_trial(create_trial(value=value, params=t.params, distributions=t.distributions))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=0)
        try:
            return get_param_importances(counted, evaluator=evaluator)
        except RuntimeError:  # no tree of the forest has a split
            return {}


def parallel_section(data: ReportData) -> Section:
    """Every finished student, through its parameters to what it is worth."""
    rows = finished(data.table)
    if rows.empty:
        return replace(PARALLEL, missing="No trial is finished yet.")
    score = rows.score.astype(float)
    figure = style.figure(margin={"l": 40, "r": 48, "t": 64, "b": 24})
    figure.add_parcoords(
        dimensions=[
            *(_choices(NAMES[field], column) for field, column in _fields(rows).items()),
            *([_choices(RECIPE, rows.recipe)] if rows.recipe.nunique() > 1 else []),
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
    return replace(PARALLEL, views={"all": figure})


def _fields(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """The columns of what is chosen; of a decoder, filled in, and 0 for embeddings left whole."""
    found = {name: rows[name] for name in NAMES if name in rows}
    if EMBEDDINGS in found:
        found[EMBEDDINGS] = found[EMBEDDINGS].fillna(0).astype(int)
    return {
        name: column.fillna(rows[ENCODERS[name]]) if name in ENCODERS else column
        for name, column in found.items()
    }


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
