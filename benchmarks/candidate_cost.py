"""How the seconds of one candidate grow with the proxy, the sentences and the student.

A candidate's seconds are everything: building the student, the start of its projections,
training, scoring. Three sweeps, each from the same base (3x384, 1,000 examples of 32 tokens, one
epoch), every point the median over turns. Example:

    python benchmarks/candidate_cost.py --html candidate_cost.html

`--json` writes the entry `candidate-cost`.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import plotly.graph_objects as go
from command_line import a_count, a_file, a_result, in_one_line, write_entry
from plotly.subplots import make_subplots
from setting import Setting, make_setting, read_sentences, seconds_of

from kdnas.config import Settings
from kdnas.measure import count_params
from kdnas.space import Candidate

SHAPES = ("1x96", "2x128", "3x192", "6x192", "3x384", "6x384")
EXAMPLES = (500, 1000, 2000, 4000)
LENGTHS = (16, 32, 64, 128)
BASE = ("3x384", 1000, 32)


def texts_of(count: int, length: int, file: Path | None) -> list[str]:
    """Texts that fill `length` tokens: sentences joined."""
    sentences = read_sentences(file, sentences_for(count, length))
    return [" ".join(sentences[i::count]) for i in range(count)]


def sentences_for(count: int, length: int) -> int:
    """How many sentences so many texts are made of."""
    return count * max(1, length // 6)


def candidate_seconds(setting: Setting, shape: str, turns: int) -> float:
    """The median over turns of all that one candidate takes."""
    mini, architecture = setting.mini, setting.architecture(shape)
    times = [
        seconds_of(lambda: mini.train(mini.start(Candidate(architecture)))) for _ in range(turns)
    ]
    return statistics.median(times)


def plot(sweeps: dict[str, list[tuple[int, float]]]) -> go.Figure:
    """The sweeps side by side, on log axes."""
    figure = make_subplots(1, len(sweeps), shared_yaxes=True, horizontal_spacing=0.03)
    for column, (name, values) in enumerate(sweeps.items(), 1):
        x, y = zip(*values, strict=True)
        figure.add_trace(go.Scatter(x=x, y=y, mode="lines+markers"), 1, column)
        figure.update_xaxes(type="log", title=name, dtick="D2", row=1, col=column)
    figure.update_yaxes(type="log", dtick="D2")
    figure.update_yaxes(title="seconds a candidate", col=1)
    return figure.update_layout(template="plotly_white", showlegend=False, height=420)


@in_one_line()
def main() -> None:
    """Prints the sweeps; writes them with --json, and as a plot with --html."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--text", type=a_file)
    parser.add_argument("--turns", type=a_count, default=3)
    parser.add_argument("--json", type=a_result)
    parser.add_argument("--html", type=a_result)
    arguments = parser.parse_args()
    settings = Settings(mini_epochs=1)

    def point(shape: str, examples: int, length: int) -> tuple[float, int]:
        setting = make_setting(texts_of(examples, length, arguments.text), length, settings)
        student = setting.start(setting.architecture(shape))[0].model.base_model
        outside = student.get_input_embeddings().weight.numel()
        seconds = candidate_seconds(setting, shape, arguments.turns)
        print(f"{shape}, {examples} examples of {length} tokens: {seconds:.2f} s", flush=True)
        return seconds, count_params(student) - outside

    shape, examples, length = BASE
    most = max(
        *(sentences_for(n, length) for n in EXAMPLES),
        *(sentences_for(examples, n) for n in LENGTHS),
    )
    read_sentences(arguments.text, most)  # too few shall show before anything is measured
    sweeps = {
        "examples in the proxy": [(n, point(shape, n, length)[0]) for n in EXAMPLES],
        "tokens an example": [(n, point(shape, examples, n)[0]) for n in LENGTHS],
        "parameters, word embeddings aside": [
            (size, seconds) for seconds, size in (point(each, examples, length) for each in SHAPES)
        ],
    }
    if arguments.json:
        write_entry(arguments.json, "candidate-cost", sweeps)
    if arguments.html:
        plot(sweeps).write_html(arguments.html)


if __name__ == "__main__":
    main()
