"""The outcome of a run in two sentences that claim no more than the evaluation shows."""

from __future__ import annotations

from kdnas.report.model import DISTILLED, ON_LABELS, SEARCHED, Comparison, Report, shown_name
from kdnas.report.origin import other_shape
from kdnas.runtime.formatting import several
from kdnas.tasks.spec import split_of

# The student that the run is about, in a sentence.
OWN = {SEARCHED: "the search's own student", DISTILLED: "the distilled student"}
# Of timings: their interquartile range over their median, above which they are said to scatter.
SCATTER = 0.3
UNKNOWN = "how much of the differences is noise was not measured"


def verdict(report: Report) -> str:
    """The share of the teacher's score kept, the speed-up, and how the student compares.

    Better and worse are differences beyond the sampling of the evaluated rows: a paired test at
    95%. One training of each model says nothing about other seeds; several have a sentence.
    """
    first = (_nothing_learnt, _kept, _missed, _scattered, _weak_teacher)
    then = (_chosen, _passed_over, _compared, _over_seeds)
    return " ".join(filter(None, (part(report) for part in (*first, *then))))


def _over_seeds(report: Report) -> str:
    """Means and spreads of the students that were trained with several seeds."""
    metric, own = report.main_score, report.student.seeds
    if own is None:
        return ""
    controls = [
        f'"{shown_name(control, report.speedup)}" {control.seeds.told(metric)}'
        for control in report.controls
        if control.seeds
    ]
    beside = f"; {', '.join(controls)}" if controls else ""
    return (
        f"Over {len(own.scores)} seeds its {metric} is {own.told(metric)} (mean and standard "
        f"deviation){beside}."
    )


def _kept(report: Report) -> str:
    metric, student, kept = report.main_score, report.student, report.kept
    score, against = student.scores[metric], report.teacher.scores.get(metric)
    rows = f"n = {_rows(report):,}" if _rows(report) else ""
    if kept is None:
        known = f" ({rows})" if rows else ""
        of = "" if against is None else f", its teacher {against:.4f},"
        fast = f"at {student.speedup:.2f} times its {report.reference}'s speed{_served(report)}"
        return f"The student reaches {metric} {score:.4f}{known}{of} {fast}."
    low, high = (100 * end for end in kept.interval)
    sure = f"{rows}, 95% interval {low:.1f} to {high:.1f}"
    whose = "its" if report.student_base is None else f"the {report.reference}'s"
    return (
        f"The student keeps {kept.share:.1%} of its teacher's {metric} ({sure}) at "
        f"{student.speedup:.2f} times {whose} speed{_served(report)}: {score:.4f} of {against:.4f}."
    )


def _missed(report: Report) -> str:
    """That the student is slower than was asked for, where it is when it is timed at the end."""
    wanted = report.speedup_wanted
    if not wanted or report.speedup >= wanted:
        return ""
    return f"Timed again at the end, the student misses the {wanted:g}x asked for."


def _served(report: Report) -> str:
    """Where a pruned student is so fast: plain transformers multiply its zeros, too."""
    return " in kdnas and ONNX (not in plain transformers)" if report.student.pruned else ""


def _weak_teacher(report: Report) -> str:
    """A warning where something without a teacher is clearly better than the teacher."""
    metric, teacher = report.main_score, report.teacher
    if metric not in teacher.intervals:
        return ""
    known = [(one.name, one.scores) for one in report.baselines]
    known += [(one.name, one.scores) for one in report.controls if one.name == ON_LABELS]
    if report.selection and report.selection.shipped == ON_LABELS:
        known.append((ON_LABELS, report.student.scores))
    scores = {name: found[metric] for name, found in known if metric in found}
    best = max(scores, key=scores.__getitem__, default="")
    if not best or scores[best] <= teacher.intervals[metric][1]:
        return ""
    return (
        f'The teacher itself is worse than "{best}" ({scores[best]:.4f}), which learnt from no '
        "teacher: train a better one first."
    )


def _chosen(report: Report) -> str:
    """Why it is not the run's own student, where it is not."""
    chosen = report.selection
    if chosen is None or report.ships_its_own:
        return ""
    scores, rows = chosen.scores, several(f"{chosen.rows:,}", "training row")
    own = "".join(f", {who} {scores[name]:.4f}" for name, who in OWN.items() if name in scores)
    shape = report.student.architecture.label.partition(" ")[0]
    return (
        f'The student is "{chosen.shipped}", {shape}: on {rows} held out, it scored '
        f"{scores[chosen.shipped]:.4f}{own}."
    )


def _passed_over(report: Report) -> str:
    """The best trial of the search, where it is not the student because it is too slow."""
    slow, wanted = report.search.too_slow if report.search else [], report.speedup_wanted
    if not (slow and wanted):
        return ""
    best = slow[0]
    return (
        f"Trial {best.trial} ({best.name}) scored higher in the search, but is {best.speedup:.2f} "
        f"times as fast, timed at length: less than the {wanted:g}x asked for."
    )


def _scattered(report: Report) -> str:
    """A warning where speed-ups were timed on a machine that was too busy to tell them."""
    student = report.student
    share = student.latency_iqr_ms / student.latency_ms if student.latency_ms else 0.0
    if share <= SCATTER:
        return ""
    return (
        f"Timings scattered: half of the student's passes differ by {share:.0%} of their median, "
        "as on a busy machine; speed-ups may be far off."
    )


def _rows(report: Report) -> int:
    """How many rows the main score is of."""
    split = split_of(report.main_score, report.examples)
    return report.examples[split] if split else 0


def _nothing_learnt(report: Report) -> str:
    """A warning where the student is not clearly better than one constant answer."""
    constants = {low.name: low for low in report.baselines if low.name.startswith("always ")}
    for one in report.comparisons:
        if one.name in constants and not (one.clear and one.difference > 0):
            score = constants[one.name].scores[report.main_score]
            return (
                f'The student is not clearly better than one constant answer: "{one.name}" reaches '
                f"{report.main_score} {score:.4f}."
            )
    return ""


def _compared(report: Report) -> str:
    controls = {control.name: shown_name(control, report.speedup) for control in report.controls}
    names = {**controls, **{low.name: low.name for low in report.baselines}}
    own = report.ships_its_own
    groups: dict[str, list[str]] = {}
    for one in report.comparisons:
        if not one.name.startswith("always "):
            told, shape = f'"{names.get(one.name, one.name)}"', other_shape(report, one.name)
            told += f" of {shape}" if shape and not own else ""
            told += f" {_by(one)}"
            groups.setdefault(_word(one), []).append(told)
    if not groups:
        return f"It has {len(controls)} controls; {UNKNOWN}." if controls else ""
    parts = (
        f"{word} {' and '.join(filter(None, (', '.join(told[:-1]), told[-1])))}"
        for word, told in groups.items()
    )
    return f"It is {'; '.join(parts)}."


def _word(one: Comparison) -> str:
    if not one.clear:
        return "within noise of"
    return "better than" if one.difference > 0 else "worse than"


def _by(one: Comparison) -> str:
    return f"by {abs(one.difference):.4f}" if one.clear else f"({one.difference:+.4f})"
