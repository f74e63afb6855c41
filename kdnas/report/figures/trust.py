"""How far the scores of the search may be trusted, where `kdnas fidelity` has found out."""

from __future__ import annotations

from kdnas.report.facts import Facts
from kdnas.report.fidelity import fidelity_figure, fidelity_table
from kdnas.report.page import Section

TITLE = "Are the scores to be trusted?"
TOLD = (
    "Mini-KD's score against the score after full distillation of the same students. The closer "
    "Kendall's tau is to 1, the better mini-KD ranks them."
)


def trust_section(facts: Facts) -> Section:
    """The figure of fidelity.html."""
    if not facts.fidelity:
        missing = "Not measured; kdnas fidelity RUN does, by distilling some students fully."
        return Section("trust", TITLE, TOLD, missing=missing)
    figure = fidelity_figure(facts.fidelity)
    return Section("trust", TITLE, TOLD, {"scores": figure}, fidelity_table(facts.fidelity))
