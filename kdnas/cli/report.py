"""kdnas report: what a person reads, anew."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import typer

from kdnas.errors import KdnasError
from kdnas.runtime.console import conclude, say

PLOTLY = ("inline", "cdn")


def report(
    runs: list[Path] = typer.Argument(
        help="A run folder, or several to compare.", metavar="RUN..."
    ),
    *,
    open_: bool = typer.Option(False, "--open", help="Show the page in a browser."),
    png: Path | None = typer.Option(
        None,
        help="Also draw the front as a picture (.png, .svg, .pdf); needs kdnas\\[png] and a "
        "Chrome or Chromium.",
        metavar="FILE",
    ),
    out: Path | None = typer.Option(
        None, help="Page of a comparison. \\[default: compare.html]", metavar="FILE"
    ),
    plotly_js: str = typer.Option(
        "inline",
        help="inline: pages work offline, 5 MB each; cdn: plotly's script comes from its server. "
        "\\[default: inline]",
        metavar="|".join(PLOTLY),
        show_default=False,
        autocompletion=lambda: list(PLOTLY),
    ),
) -> None:
    """Write a run's report.html anew, or compare several runs.

    trials.csv, report.json and pareto.html are written anew, too.
    """
    if plotly_js not in PLOTLY:
        raise KdnasError(f"invalid --plotly-js {plotly_js}: expected {' or '.join(PLOTLY)}")
    from kdnas.runs.run_folder import Run

    for run in runs:
        Run.open(run)
    if png:
        from kdnas.report.write import check_picture

        check_picture(png)
    page = (
        _one(runs[0], png, out, plotly_js)
        if len(runs) == 1
        else _several(runs, png, out, plotly_js)
    )
    if open_ and not webbrowser.open(page.resolve().as_uri()):
        say(f"no browser could be opened; the page is {page}")


def _one(folder: Path, png: Path | None, out: Path | None, plotly_js: str) -> Path:
    from kdnas.report.terminal import report_lines
    from kdnas.report.write import rewrite_report, write_picture
    from kdnas.runs.run_folder import Run

    if out:
        raise KdnasError("--out needs several runs; the report of one is in its folder")
    run = Run.open(folder)
    data = rewrite_report(run, plotly_js)  # type: ignore[arg-type]
    if png:
        write_picture(png, data)
    page = folder / "report.html"
    unfinished = {"report": None, "progress": data.progress}
    result = data.report.model_dump(mode="json") if data.report else unfinished
    conclude({**result, "page": str(page)}, report_lines(data, folder, png))
    return page


def _several(folders: list[Path], png: Path | None, out: Path | None, plotly_js: str) -> Path:
    from kdnas.report.compare import comparison, comparison_lines, write_comparison
    from kdnas.report.data import read_run
    from kdnas.runs.run_folder import Run

    if png:
        raise KdnasError("--png draws the front of one run; give one run")
    runs = {str(folder): read_run(Run.open(folder)) for folder in folders}
    page = out or Path("compare.html")
    if page.is_dir():
        raise KdnasError(f"invalid --out {page}: it is a folder; give {page / 'compare.html'}")
    write_comparison(page, runs, plotly_js)  # type: ignore[arg-type]
    rows = comparison(runs)
    conclude(rows, [*comparison_lines(rows), f"wrote {page}"])
    return page
