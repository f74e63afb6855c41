"""The comparison as a table of at most 80 columns, and what int8 costs."""

from __future__ import annotations

from typing import Any

from kdnas.runtime.formatting import several


def table_lines(summary: dict[str, Any]) -> list[str]:
    """Size, latencies and main score of each model.

    Args:
        summary: The content of export.json.
    """
    models, score = summary["models"], summary["main_score"]
    points = [f"{at['batch']} x {at['length']} tokens" for at in models[0]["latency"]]
    lines = [f"{'':<17}{'on disk':>10}" + "".join(f"{p:>18}" for p in points)]
    lines[0] += f"{score or '':>17}"
    for row in models:
        times = "".join(f"{at['ms']:>8.1f} ms{at['speedup']:>6.1f}x" for at in row["latency"])
        known = row["scores"].get(score)
        lines.append(
            f"{row['model']}, {row['runtime']:<8}{row['bytes'] / 1e6:>7.1f} MB{times}"
            f"{'-' if known is None else format(known, '.4f'):>17}"
        )
    threads = several(summary["environment"]["threads"], "thread")
    how = f"medians, taken in turn, {threads}; " if points else ""
    lines.append(f"{how}logits in ONNX within {summary['largest_difference']:.0e} of PyTorch's")
    return [*lines, *int8_line(summary)]


def int8_line(summary: dict[str, Any]) -> list[str]:
    """What int8 does to the main score; nothing where there is no int8, or no score."""
    score = summary["main_score"]
    change = summary["int8_change"].get(score)
    return [] if change is None else [f"int8 changes {score} by {change:+.4f}"]
