"""kdnas predict: labels for texts."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

import typer

from kdnas.cli.options import with_settings
from kdnas.config import load_settings
from kdnas.errors import KdnasError
from kdnas.runtime.console import progress, silent
from kdnas.runtime.shown import shown

STDIN = "-"


@with_settings(device="cpu, cuda, mps; default: the best there is.", threads="CPU threads.")
def predict(
    flags: dict[str, Any],
    model: str = typer.Argument(
        help="A run folder, a checkpoint folder, or a hub id.", metavar="MODEL"
    ),
    texts: list[str] | None = typer.Argument(
        None, help="Texts; - reads lines from standard input.", metavar="[TEXT]..."
    ),
    *,
    file: Path | None = typer.Option(
        None, help="Texts from a .csv, .tsv, .jsonl or .parquet file, or one a line from another."
    ),
    text_pair: list[str] | None = typer.Option(
        None, help="The second text of a pair; repeat it for each TEXT.", metavar="TEXT"
    ),
    text_column: str | None = typer.Option(
        None, help="The file's column of texts; default: the task's, or text."
    ),
    pair_column: str | None = typer.Option(
        None, help="The column of second texts; default: the task's, or text_pair."
    ),
    as_json: bool = typer.Option(
        False, "--json", help="One JSON object a line, with the probability of each class."
    ),
    probabilities: bool = typer.Option(
        False,
        "--probabilities",
        help="With --json: also the probabilities of each word's tags, or of each place of an "
        "answer, as --teacher-predictions of kdnas search reads them.",
    ),
) -> None:
    """Label texts with a student, or with any other classifier.

    Prints label, probability and text, one a line; for a regression number and text; for token
    classification entities and text; for question answering the answer in the second text and the
    question; for sequence-to-sequence the text that the model writes. Results go to standard
    output, progress to standard error.
    """
    from kdnas.evaluation.early import check_model

    settings, given, out = load_settings(None, flags), list(texts or []), sys.stdout
    if probabilities and not as_json:
        raise KdnasError("--probabilities is for --json; give both or none")
    columns = {"--text-column": text_column, "--pair-column": pair_column}
    piped = _is_piped(given, file)
    _check_source(given, file, text_pair, columns, piped=piped)
    check_model(model)
    from kdnas.evaluation.predict import load_classifier, predict_rows, prediction_line
    from kdnas.evaluation.texts import read_file, read_lines, rows_of, usual_task

    with redirect_stdout(sys.stderr):
        classifier = load_classifier(model, device=settings.device, threads=settings.threads)
        total = 0
        if file:
            kind = classifier.task_type
            rows, total = read_file(file, classifier.spec, text_column, pair_column, kind)
        elif piped:
            spec = classifier.spec or usual_task(classifier.task_type)
            rows = read_lines(sys.stdin.buffer, "standard input", spec)
        else:
            rows = iter(rows_of(given, text_pair, classifier.task_type))
        typed = piped and sys.stdin.isatty()  # a person waits for each answer
        chunk = [1] if typed else []
        found = predict_rows(classifier, rows, *chunk, probabilities=probabilities)
        lines = (
            json.dumps(said, ensure_ascii=not _is_unicode(out), default=str)
            if as_json
            else prediction_line(classifier, said)
            for said in found
        )
        _print(lines, out, total)


def _is_piped(given: list[str], file: Path | None) -> bool:
    """Whether the texts come from standard input."""
    return given == [STDIN] or not (given or file or sys.stdin.isatty())


def _check_source(
    given: list[str],
    file: Path | None,
    pairs: list[str] | None,
    columns: dict[str, str | None],
    *,
    piped: bool,
) -> None:
    """Raises KdnasError where there are no texts, or options of a source that is not theirs."""
    for option, value in columns.items():
        if value is not None and not file:
            raise KdnasError(f"{option} names a column of --file; give both or none")
    if file and given:
        raise KdnasError("--file and TEXT exclude each other; give one of them")
    if file and pairs:
        raise KdnasError(
            "--text-pair goes with TEXT, not with --file: name the file's column of second texts "
            "by --pair-column"
        )
    if not (given or file or piped):
        raise KdnasError("no text: give TEXT, --file FILE, or - for lines on standard input")
    if piped and pairs:
        raise KdnasError(
            "--text-pair goes with TEXT, not with standard input: give pairs as TEXT and "
            "--text-pair, or in a --file"
        )
    if file and not file.is_file():
        raise KdnasError(f"invalid --file {shown(file)}: no such file")


def _print(lines: Iterator[str], out: TextIO, total: int) -> None:
    """Prints lines as they come, beside a bar where they go to a file or a pipe."""
    bar = progress("predict", total) if total and not out.isatty() else nullcontext(silent)
    with bar as advance:
        for line in lines:
            print(line, file=out, flush=not total)
            advance("")


def _is_unicode(out: TextIO) -> bool:
    return codecs.lookup(out.encoding or "utf-8").name.startswith("utf")
