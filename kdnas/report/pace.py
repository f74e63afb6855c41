"""How long many rows take: windows, batches and decoding included, tokenising not."""

from __future__ import annotations

from kdnas.report.model import Report
from kdnas.runtime.formatting import in_digits


def pace_words(report: Report) -> str:
    """`1,000 rows take 3.2 s, the teacher 12.8 s, ...`; empty where it was not measured."""
    ours, theirs = report.student.seconds_per_1000, report.teacher.seconds_per_1000
    if ours is None:
        return ""
    teacher = "" if theirs is None else f", with the teacher {in_digits(theirs, 3)} s"
    splits, own = " and ".join(report.evaluation), in_digits(ours, 3)
    return (
        f"1,000 rows of {splits} take the student {own} s{teacher} "
        "(fp32, from token ids to answers)"
    )
