"""report.html: everything about a run on one page; pareto.html: its front alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdnas.report.facts import Facts
from kdnas.report.figures.course import course_section
from kdnas.report.figures.final import main_metric
from kdnas.report.figures.front import front_section
from kdnas.report.figures.latency import latency_section
from kdnas.report.figures.layers import layers_section
from kdnas.report.figures.losses import losses_section
from kdnas.report.figures.matter import matter_section
from kdnas.report.figures.parallel import parallel_section
from kdnas.report.figures.scores import scores_section
from kdnas.report.figures.seconds import seconds_section
from kdnas.report.figures.trust import trust_section
from kdnas.report.page import Plotly, write_page
from kdnas.report.progress import progress_told
from kdnas.runtime.formatting import in_millions, several

SECTIONS = (
    front_section,
    scores_section,
    course_section,
    matter_section,
    parallel_section,
    layers_section,
    losses_section,
    latency_section,
    trust_section,
    seconds_section,
)


def write_report_page(path: Path, facts: Facts, plotly: Plotly = "inline") -> None:
    """Writes a run's report as one page."""
    sections = [section(facts) for section in SECTIONS]
    write_page(path, facts.title, sections, lead=lead(facts), plotly=plotly)


def write_front_page(path: Path, facts: Facts, plotly: Plotly = "inline") -> None:
    """Writes the Pareto front alone."""
    write_page(path, facts.title, [front_section(facts)], plotly=plotly)


def lead(facts: Facts) -> list[str]:
    """The outcome in a sentence or two."""
    if not facts.report:
        told = ". ".join(line[0].upper() + line[1:] for line in progress_told(facts))
        return [f"{told}.", "No student is finished yet: kdnas resume goes on."]
    report: dict[str, Any] = facts.report
    student, teacher, search = report["student"], report["teacher"], report["search"]
    metric = main_metric(report)
    against = teacher["scores"].get(metric)
    beside = "" if against is None else f", its teacher's {against:.4f}"
    return [
        f"The student, {student['name']} (trial {student['trial']}), is {report['speedup']:.2f} "
        f"times as fast as its teacher with {in_millions(student['params'])} of "
        f"{in_millions(teacher['params'])} parameters; its {metric} is "
        f"{student['scores'][metric]:.4f}{beside}.",
        f"The search ({search['sampler']}) saw {search['seen']} of {search['space']} students; its "
        f"trials took {several(format(search['seconds'], '.0f'), 'second')} in all.",
    ]
