"""kdnas report: what a person reads, anew."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kdnas.errors import KdnasError
from kdnas.runtime.console import conclude, say

if TYPE_CHECKING:
    from kdnas.report.data import ReportData

PLOTLY = ("inline", "cdn")


def report(
    runs: list[Path] = typer.Argument(
        help="A run folder, or several to compare.", metavar="RUN..."
    ),
    *,
    open_: bool = typer.Option(False, "--open", help="Show the page in a browser."),
    out: Path | None = typer.Option(
        None,
        help="Write to this file alone, and nothing into the run folder, which may be read-only. "
        "\\[default: RUN/report.html; of several runs, compare.html]",
        metavar="FILE",
    ),
    markdown: bool = typer.Option(
        False,
        "--markdown",
        help="Print verdict and table for a pull request, or write them to --out; no page.",
    ),
    watch: bool = typer.Option(
        False,
        "--watch",
        help="Write the page again every few seconds while a process works on the run; an open "
        "page follows. Ctrl-C ends it.",
    ),
    png: Path | None = typer.Option(
        None,
        help="Also draw the front as a picture (.png, .svg, .pdf); needs kdnas\\[png] and a "
        "Chrome or Chromium.",
        metavar="FILE",
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

    trials.csv, report.json and pareto.html are written anew, too, unless --out names a file.
    """
    if plotly_js not in PLOTLY:
        raise KdnasError(f"invalid --plotly-js {plotly_js}: expected {' or '.join(PLOTLY)}")
    _check(runs, out, markdown=markdown, watch=watch, open_=open_, png=png)
    from kdnas.runs.run_folder import Run

    opened = [Run.open(run) for run in runs]
    if png and not opened[0].settings.searches:
        raise KdnasError(f"--png draws the front of a search, and {runs[0]} has none; leave it out")
    if png:
        from kdnas.report.write import check_picture

        check_picture(png)
    if markdown:
        _markdown(runs, out)
        return
    page = out or (runs[0] / "report.html" if len(runs) == 1 else Path("compare.html"))
    if out is None:
        from kdnas.files.atomic import check_writable

        check_writable(page.parent, "give --out FILE")
    if watch:
        _watch(runs[0], page, plotly_js, open_=open_)
        return
    if len(runs) == 1:
        _one(runs[0], png, page, plotly_js, apart=out is not None)
    else:
        _several(runs, page, plotly_js)
    if open_:
        _show(page)


def _check(
    runs: list[Path],
    out: Path | None,
    *,
    markdown: bool,
    watch: bool,
    open_: bool,
    png: Path | None,
) -> None:
    """Refuses options that do not go together, and a file that cannot be one."""
    if out and out.is_dir():
        name = "report.html" if len(runs) == 1 else "compare.html"
        name = "report.md" if markdown else name
        raise KdnasError(f"invalid --out {out}: it is a folder; give {out / name}")
    if out and out.exists() and not out.is_file():
        raise KdnasError(f"invalid --out {out}: it is no plain file; --markdown alone prints")
    if png and len(runs) > 1:
        raise KdnasError("--png draws the front of one run; give one run")
    if watch and len(runs) > 1:
        raise KdnasError("--watch follows one run; give one run")
    if markdown and (watch or open_ or png):
        other = "--watch" if watch else "--open" if open_ else "--png"
        raise KdnasError(f"--markdown makes no page; leave out {other}")
    if watch and png:
        raise KdnasError("--watch draws no picture; leave out --png")


def _markdown(folders: list[Path], out: Path | None) -> None:
    from kdnas.files.atomic import write_text
    from kdnas.report.compare import comparison, names_of
    from kdnas.report.data import read_run
    from kdnas.report.markdown import markdown_of, markdown_of_several
    from kdnas.runs.run_folder import Run

    data = [read_run(Run.open(folder)) for folder in folders]
    if len(data) == 1:
        text = markdown_of(data[0])
    else:
        text = markdown_of_several(comparison(dict(zip(names_of(folders), data, strict=True))))
    if out:
        write_text(out, text)
    result = {"file": str(out)} if out else {"markdown": text}
    conclude(result, [f"wrote {out}"] if out else text.splitlines())


def _watch(folder: Path, page: Path, plotly_js: str, *, open_: bool) -> None:
    from kdnas.report.watch import watch

    say(f"writing {page} while the run goes on; Ctrl-C ends this")
    shown = False

    def written() -> None:
        nonlocal shown
        if open_ and not shown:
            _show(page)
        shown = True

    data = watch(folder, page, plotly_js, written=written)  # type: ignore[arg-type]
    _conclude(data, folder, page, None)


def _one(folder: Path, png: Path | None, page: Path, plotly_js: str, *, apart: bool) -> None:
    from kdnas.report.data import read_run
    from kdnas.report.write import rewrite_report, write_page_of, write_picture
    from kdnas.runs.run_folder import Run

    run = Run.open(folder)
    if apart:
        data = read_run(run)
        write_page_of(page, data, plotly_js)  # type: ignore[arg-type]
    else:
        data = rewrite_report(run, plotly_js)  # type: ignore[arg-type]
    if png:
        write_picture(png, data)
    _conclude(data, folder, page, png)


def _conclude(data: ReportData, folder: Path, page: Path, png: Path | None) -> None:
    from kdnas.report.terminal import report_lines

    unfinished = {"report": None, "progress": data.progress}
    result = data.report.model_dump(mode="json") if data.report else unfinished
    conclude({**result, "page": str(page)}, report_lines(data, folder, png, page))


def _several(folders: list[Path], page: Path, plotly_js: str) -> None:
    from kdnas.report.compare import comparison, comparison_lines, names_of, write_comparison
    from kdnas.report.data import read_run
    from kdnas.runs.run_folder import Run

    data = [read_run(Run.open(folder)) for folder in folders]
    runs = dict(zip(names_of(folders), data, strict=True))
    write_comparison(page, runs, plotly_js)  # type: ignore[arg-type]
    rows = comparison(runs)
    conclude(rows, [*comparison_lines(rows), f"wrote {page}"])


def _show(page: Path) -> None:
    if not webbrowser.open(page.resolve().as_uri()):
        say(f"no browser could be opened; the page is {page}")
