"""Writes everything that a person reads of a run: tables, report.json, pages, the model card."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from optuna.study import Study

from kdnas.errors import KdnasError
from kdnas.files.artifact import content_of, key_of
from kdnas.files.atomic import replace_file, write_text
from kdnas.report.about import (
    data_section,
    next_section,
    samples_section,
    settings_section,
    words_section,
)
from kdnas.report.card import model_card
from kdnas.report.data import REPORT, ReportData, read_report, read_run
from kdnas.report.family import family_section, with_exports
from kdnas.report.fidelity import fidelity_section
from kdnas.report.figures.classes import classes_section
from kdnas.report.figures.front import front_figure, front_section
from kdnas.report.figures.scores import latency_section, scores_section
from kdnas.report.figures.search import course_section, importance_section, parallel_section
from kdnas.report.figures.style import fixed
from kdnas.report.figures.training import layers_section, losses_section, seconds_section
from kdnas.report.model import Report, Student
from kdnas.report.page import Plotly, Table, Top, write_page
from kdnas.report.search_summary import not_tried_words, progress_lines, search_of
from kdnas.report.worth import worth
from kdnas.runs.run_folder import Run
from kdnas.runtime.formatting import as_score, in_millions, several
from kdnas.runtime.shown import shown
from kdnas.space import Candidate
from kdnas.students.checkpoint import CARD, card_at

SECTIONS = (
    front_section,
    next_section,
    scores_section,
    words_section,
    samples_section,
    classes_section,
    data_section,
    course_section,
    importance_section,
    parallel_section,
    layers_section,
    losses_section,
    latency_section,
    fidelity_section,
    seconds_section,
    settings_section,
)
# What there is to tell without a search, the scores first.
WITHOUT_A_SEARCH = (
    scores_section,
    next_section,
    words_section,
    samples_section,
    classes_section,
    data_section,
    layers_section,
    losses_section,
    latency_section,
    seconds_section,
    settings_section,
)
TOP_METRICS = 2
PICTURES = (".png", ".svg", ".pdf", ".webp", ".jpg")
PICTURE_SIZE = {"width": 840, "height": 480, "scale": 1.5}


def write_report(
    run: Run, study: Study | None, control: Study | None, report: Report, home: Path
) -> None:
    """The last step of a run: writes all files.

    The run folder gets the trial tables and pareto.html of a search; `home`, the folder of the
    distilled `student/`, gets report.json, the page and the card.
    """
    report.write(home / REPORT)
    _write_card(run, report, home)
    data = ReportData.of(run, study, control, report, home)
    _write_sections(home / "report.html", data, "inline")
    if home != run.folder:
        data = ReportData.of(run, study, control, read_report(run.folder))
    _write_trials(run, data, "inline")


def rewrite_report(run: Run, plotly: Plotly = "inline") -> ReportData:
    """`kdnas report RUN`: all files anew, from the study and what is there of the results.

    Raises:
        KdnasError: The run's search has no study yet, or its report.json cannot be read.
    """
    path = run.folder / REPORT
    before, data = _content(path), read_run(run)
    if data.report:
        search = data.report.search
        if search:
            tables, winner = (data.table, data.control), search.winner
            winner = data.report.student.trial if winner is None else winner
            size, untried = search.space, search.not_tried
            search = search_of(run, run.settings, *tables, size, winner, untried, search)
        family = with_exports(data.report.family, run.folder, data.report.environment.point)
        changes = {"search": search, "seconds": run.seconds(), "family": family}
        report = data.report.model_copy(update=changes)
        data = replace(data, report=report)
    # The large files first: where there is no room for them, nothing of the student changes.
    _write_sections(run.folder / "report.html", data, plotly)
    _write_trials(run, data, plotly)
    if _content(path) != before:  # the run has finished meanwhile: its new report counts
        return rewrite_report(run, plotly)
    if data.report:
        data.report.write(path)
        if _is_of(data.report.student, run.folder / "student"):
            _write_card(run, data.report, run.folder)
    return data


def _is_of(student: Student, folder: Path) -> bool:
    """Whether a report is about the checkpoint in a folder.

    While the controls of a new student are trained, the report is still that of the old one.
    """
    if student.content is not None:
        return content_of(folder) == student.content
    known = (key_of(folder) or {}).get("candidate")
    return known is not None and Candidate.from_params(known).label == student.name


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _write_card(run: Run, report: Report, home: Path) -> None:
    """The card of the student in `home`; its code loads it from there."""
    folder = home / "student"
    write_text(folder / CARD, card_at(model_card(report, run.settings), folder.resolve()))


def write_page_of(
    path: Path, data: ReportData, plotly: Plotly = "inline", reload: float | None = None
) -> None:
    """The page of a run in any place; nothing is written into the run folder.

    Args:
        path: Of the page.
        data: Of the run.
        plotly: As for `write_page`.
        reload: Seconds after which the page loads itself again; None for one that stays.
    """
    _write_sections(path, data, plotly, reload)


def _write_trials(run: Run, data: ReportData, plotly: Plotly) -> None:
    """The files of a search for which no student need be finished."""
    if data.study is None:
        return
    write_text(run.folder / "trials.csv", data.table.to_csv(index=False))
    if data.control is not None:
        write_text(run.folder / "random-search.csv", data.control.to_csv(index=False))
    write_page(run.folder / "pareto.html", data.title, [front_section(data)], plotly=plotly)


def _write_sections(
    path: Path, data: ReportData, plotly: Plotly, reload: float | None = None
) -> None:
    sections = [section(data) for section in (SECTIONS if data.study else WITHOUT_A_SEARCH)]
    if family := family_section(data.report):
        sections.insert(1, family)
    top = Top(lead(data, live=reload is not None), models_table(data))
    write_page(path, data.title, sections, top=top, plotly=plotly, reload=reload)


def lead(data: ReportData, *, live: bool = False) -> list[str]:
    """The outcome in a few sentences, and what it may be trusted for; `live`: the run goes on."""
    report = data.report
    if report is None:
        done = ". ".join(line[0].upper() + line[1:] for line in progress_lines(data.progress))
        further = "." if live else ": continue with kdnas resume."
        return [*([f"{done}."] if done else []), f"No student is finished yet{further}"]
    student, known = report.student, worth(data)
    return [
        report.verdict,
        f"The student is {student.name}{_of_trial(student.trial)}, with "
        f"{in_millions(student.params)} of {in_millions(report.teacher.params)} parameters"
        f"{'' if report.student_base is None else ' of its student base'}. "
        f"{_how_found(report)}",
        *([known.sentence] if known else []),
    ]


def _how_found(report: Report) -> str:
    search, pruned = report.search, report.student.pruned
    if search is None and pruned:
        left, whole = len(pruned.heads), report.teacher.architecture.num_hidden_layers
        of = f" with {left} of its {whole} layers" if left < whole else ""
        return (
            f"It is the teacher{of}, pruned by {pruned.method} to {pruned.asked}; nothing was "
            "searched."
        )
    if search is None:
        return "Its shape was given; nothing was searched."
    untried = "".join(f" {words[0].upper()}{words[1:]}." for words in not_tried_words(search))
    return (
        f"The search ({search.sampler}) evaluated {search.seen} of {search.space} students; its "
        f"trials took {several(format(search.seconds, '.0f'), 'second')} in all.{untried}"
    )


def models_table(data: ReportData) -> Table | None:
    """Teacher, student, controls and baselines: main metrics, size and speed."""
    report = data.report
    if report is None:
        return None
    metrics = list(report.student.scores)[:TOP_METRICS]
    rows = [
        (
            name,
            *(as_score(m.scores[k]) if k in m.scores else "-" for k in metrics),
            *m.costs_told(),
        )
        for name, m in report.models
    ]
    for low in report.baselines:
        scores = (as_score(low.scores[k]) if k in low.scores else "-" for k in metrics)
        rows.append((low.name, *scores, "-", "-"))
    split = ", ".join(f"{n:,} rows of {split}" for split, n in report.examples.items())
    caption = f"After full training, on {split}." if split else "After full training."
    return Table(("model", *metrics, "size", "speed"), rows, caption=caption)


def _of_trial(number: int | None) -> str:
    return "" if number is None else f" (trial {number})"


def check_picture(path: Path) -> None:
    """Refuses a picture that cannot be drawn, before anything is written.

    Raises:
        KdnasError: The ending is unknown, or kaleido is missing.
    """
    if path.suffix.lower() not in PICTURES:
        known = ", ".join(PICTURES)
        raise KdnasError(
            f"invalid --png {shown(path)}: expected a name that ends in one of {known}"
        )
    if find_spec("kaleido") is None:
        raise KdnasError("--png needs kaleido: pip install 'kdnas[png]'")


def write_picture(path: Path, data: ReportData) -> None:
    """Draws the front in light colours; the format follows the name's ending.

    Raises:
        KdnasError: There is no browser that kaleido could draw with.
    """
    figure = fixed(front_figure(data.as_held, title=data.title))
    legend = {"orientation": "v", "x": 1.02, "y": 1, "yanchor": "top"}
    figure.update_layout(legend=legend, margin={"t": 60})
    with replace_file(path) as partial:
        try:
            drawn = figure.to_image(format=path.suffix.lower().lstrip("."), **PICTURE_SIZE)
        except Exception as error:  # kaleido's own, of many kinds
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise KdnasError(
                f"--png needs a working Chrome or Chromium (BROWSER_PATH names one): {reason[0]}"
            ) from None
        partial.write_bytes(drawn)
