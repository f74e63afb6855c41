"""The Pareto front as a picture, for a README."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from kdnas.errors import KdnasError
from kdnas.files.atomic import replace_file
from kdnas.report.facts import Facts
from kdnas.report.figures.front import front_figure
from kdnas.report.figures.style import fixed

KINDS = (".png", ".svg", ".pdf", ".webp", ".jpg")
WIDTH, HEIGHT, SCALE = 840, 480, 1.5


def check_picture(path: Path) -> None:
    """Refuses a picture that cannot be made, before anything is written.

    Raises:
        KdnasError: The ending is unknown, or kaleido is missing.
    """
    if path.suffix.lower() not in KINDS:
        raise KdnasError(f"--png is {path}; its name should end with one of {', '.join(KINDS)}")
    if find_spec("kaleido") is None:
        raise KdnasError("--png needs kaleido: pip install 'kdnas[png]'")


def write_picture(path: Path, facts: Facts) -> None:
    """Draws the front in light colours; the format follows the name's ending.

    Raises:
        KdnasError: There is no browser that kaleido could draw with.
    """
    check_picture(path)
    figure = fixed(front_figure(facts, title=facts.title))
    figure.update_layout(legend={"orientation": "v", "x": 1.02, "y": 1, "yanchor": "top"})
    figure.update_layout(margin={"t": 60})
    kind = path.suffix.lower().lstrip(".")
    with replace_file(path) as partial:
        try:
            made = figure.to_image(format=kind, width=WIDTH, height=HEIGHT, scale=SCALE)
        except Exception as error:  # kaleido's own, of many kinds
            reason = str(error).strip().splitlines()
            raise KdnasError(
                "--png needs a Chrome or Chromium that works (BROWSER_PATH names one): "
                f"{reason[0] if reason else type(error).__name__}"
            ) from None
        partial.write_bytes(made)
