"""What each section of a report says, of a finished run and of one that only searched."""

from __future__ import annotations

import html
import re
import shlex
import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import plotly.graph_objects as go
import pytest
from conftest import Said
from made_runs import HOSTILE, TEACHER, make_run, report_of

from kdnas.config import Settings
from kdnas.distillation.layer_map import MAPS
from kdnas.errors import KdnasError
from kdnas.report.about import data_section, next_section, settings_section, words_section
from kdnas.report.card import model_card
from kdnas.report.compare import comparison, comparison_lines, names_of, write_comparison
from kdnas.report.data import ReportData, read_run
from kdnas.report.fidelity import fidelity_section
from kdnas.report.figures.front import command_of, commands, front_figure, front_section
from kdnas.report.figures.scores import latency_section, scores_section
from kdnas.report.figures.search import course_section, importance_section, parallel_section
from kdnas.report.figures.style import clip, fixed
from kdnas.report.figures.training import layers_section, losses_section, seconds_section
from kdnas.report.markdown import markdown_of
from kdnas.report.model import (
    ON_LABELS,
    SEARCHED,
    WITHOUT_ASSISTANTS,
    DataFacts,
    Report,
    Seeds,
    Selection,
)
from kdnas.report.page import Section, write_page
from kdnas.report.search_summary import progress_lines
from kdnas.report.steps import step_in_words
from kdnas.report.terminal import closing_lines, report_lines
from kdnas.report.trials_table import finished, front, records
from kdnas.report.worth import Trained, Worth, worth
from kdnas.report.write import lead, write_page_of, write_report
from kdnas.runs.run_folder import Run
from kdnas.scoring.rank_agreement import agreement
from kdnas.space import Architecture
from kdnas.space.architecture import FIELDS
from kdnas.study.attributes import CONTINUES
from kdnas.study.rows import candidate_of
from kdnas.study.study import evaluated
from kdnas.tasks import DEFAULT_TASK


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return read_run(make_run(tmp_path_factory.mktemp("runs") / "new"))


BY_TIME = {"budget": "45m", "trials": Settings(budget="45m").trials}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return read_run(make_run(tmp_path_factory.mktemp("runs") / "bare", trials=3, finished=False))


def test_the_front_has_teacher_winner_controls_and_budgets(data: ReportData) -> None:
    figure = front_figure(data)
    traces = {trace.name: trace for trace in figure.data}
    names = {"Pareto front", "students", "winner", "teacher", "random search", "controls"}
    assert set(traces) == names
    assert len(traces["students"].x) == len(finished(data.table)) == 14
    assert list(traces["Pareto front"].x) == list(front(data.table).speedup)
    assert traces["winner"].customdata[0][0] == 2
    assert [shape.x0 for shape in figure.layout.shapes] == [2, 4, 8]
    by_size = {t.name: t for t in front_figure(data, "params").data}
    assert list(by_size["teacher"].x) == [22_713_986]
    assert list(by_size["Pareto front"].x) == sorted(by_size["Pareto front"].x)
    assert list(traces["controls"].y) == [0.6] and list(traces["controls"].x) == [4.5]
    views = front_section(data).views
    assert list(views) == ["speed-up", "parameters", "MACs", "final score"]
    assert HOSTILE not in views["final score"].to_json()


def test_widths_of_factorised_embeddings_are_shown(data: ReportData) -> None:
    sizes = [8.0 if number % 2 else float("nan") for number in data.table.number]
    narrow = replace(data, table=data.table.assign(embedding_size=sizes))
    students = {trace.name: trace for trace in front_figure(narrow).data}["students"]
    told = {point[0]: point[11] for point in students.customdata}
    assert told[3] == told[1] == ", embeddings of 8" and told[2] == ""
    [lines] = parallel_section(narrow).views["all"].data
    axis = {one.label: one for one in lines.dimensions}["embedding size"]
    assert list(axis.ticktext) == ["0", "8"] and min(axis["values"]) == 0


def test_the_star_is_where_the_winner_was_timed_again(data: ReportData, bare: ReportData) -> None:
    seen = data.table.speedup[data.table.number == 2].item()
    traces = {trace.name: trace for trace in front_figure(data).data}
    assert list(traces["winner"].x) == [5.0] and seen in list(traces["students"].x)
    assert f"timed again at the end; the search saw {seen:.2f}x" in traces["winner"].hovertemplate
    note = front_section(data).notes["speed-up"]
    assert "timed again" in note and "common speed-up targets" in note
    best = bare.table.speedup[bare.table.number == bare.winner].item()
    assert list(front_figure(bare).data[-2].x) == [best]
    assert "timed again" not in front_section(bare).notes["speed-up"]


def test_the_data_section_tells_how_files_were_read(data: ReportData) -> None:
    assert data.report
    facts = DataFacts(length=8, splits={}, proxy=9, assumed=["a.csv: read as UTF-16-LE"])
    known = data.report.model_copy(update={"data": facts})
    told = data_section(replace(data, report=known)).told
    assert told.endswith("How files were read: a.csv: read as UTF-16-LE.")


def test_limits_are_drawn_and_told_where_they_hold(data: ReportData) -> None:
    limits = data.settings.model_copy(update={"speedup": 3.0, "max_params": 900_000})
    limited = replace(data, settings=limits)
    views, notes = front_section(limited).views, front_section(limited).notes
    drawn = {name: [shape.x0 for shape in view.layout.shapes] for name, view in views.items()}
    assert drawn == {"speed-up": [3], "parameters": [900_000], "MACs": [], "final score": []}
    told = {name: note.rpartition("Dotted")[2] for name, note in notes.items() if "Dotted" in note}
    assert told.keys() == {"speed-up", "parameters"}
    assert "the speed-up asked for" in told["speed-up"] and "allowed" in told["parameters"]
    assert "briefly" not in notes["final score"]


def test_a_title_is_text(data: ReportData) -> None:
    title = front_figure(data, title=data.title).layout.title.text
    assert "<" not in title and "&lt;img src=x" in title


def test_the_course_tells_what_was_not_paid_for(data: ReportData, bare: ReportData) -> None:
    section = course_section(data)
    names = {trace.name for trace in section.views["course"].data}
    assert {"stopped on a rung", "repeated", "beyond a limit", "failed", "left to chance"} <= names
    assert section.table
    states = [row[2] for row in section.table.rows]
    assert {"stopped at 33%", "beyond a limit", "repeats 5", "fail", "complete"} == set(states)
    names = {trace.name for trace in course_section(bare).views["course"].data}
    assert names == {"random search", "best so far", "evaluated"}


def test_the_course_tells_what_random_search_paid_for(data: ReportData) -> None:
    assert data.control is not None
    assert "of random search, same budget. Students" in course_section(data).told
    few = replace(data, control=data.control[:2])
    told = course_section(few).told
    assert re.search(r"of random search, 2 trials \(\d+ of this search\)\. Students", told)
    assert "random search" not in course_section(replace(data, control=None)).told


def test_the_course_tells_who_went_on_from_a_rung(data: ReportData) -> None:
    table = data.table.copy()
    table.loc[table.number.isin([9, 10, 11]), CONTINUES] = 6  # of which 9 failed
    section = course_section(replace(data, table=table))
    assert section.table
    states = {row[0]: row[2] for row in section.table.rows}
    assert (states["6"], states["10"]) == ("went on as trial 10", "complete, continues 6")
    drawn = {trace.name: list(trace.x) for trace in section.views["course"].data}
    assert drawn["went on"] == [6] and "stopped on a rung" not in drawn


def test_lines_of_a_search_go_on_to_its_end(data: ReportData) -> None:
    one = replace(data, control=data.control.head(1), table=data.table.head(12))
    drawn = {t.name: t for t in course_section(one).views["course"].data}
    for name in ("random search", "best so far", "left to chance"):
        assert drawn[name].x[-1] == 11 and "markers" in drawn[name].mode
    assert list(drawn["random search"].x) == [0, 11]
    assert len(set(drawn["random search"].y)) == 1


def test_what_matters_needs_some_trials(data: ReportData, bare: ReportData) -> None:
    table = importance_section(data).table
    assert table and [row[0] for row in table.rows][:2] == ["layers", "heads"]
    for column in (1, 2, 3):
        shares = [float(row[column].rstrip("%")) for row in table.rows]
        assert sum(shares) == pytest.approx(100, abs=0.5)
    assert "3 finished trials: too few" in importance_section(bare).missing


def alike(data: ReportData, **same: float) -> ReportData:
    """A run all of whose scored trials have the same values of some attributes."""
    study = optuna.create_study()
    assert data.study is not None
    for trial in deepcopy(evaluated(data.study)):
        trial.user_attrs |= same
        study.add_trial(trial)
    return replace(data, study=study)


def test_what_matters_says_where_trials_do_not_differ(data: ReportData) -> None:
    section = importance_section(alike(data, loss=0.5))
    assert section.missing == "No parameter explains the score: all 14 are equal."
    assert section.table and section.table.head == ("parameter", "speed-up", "reward")
    assert [trace.name for trace in section.views["all"].data] == ["speed-up", "reward"]
    nothing = importance_section(alike(data, loss=0.5, reward=0.5, speedup=2.0))
    assert nothing.table is None and not nothing.views
    assert nothing.missing.count("all 14 are equal") == 3
    assert importance_section(data).missing == ""


def test_the_layer_map_is_that_of_the_winner(data: ReportData, bare: ReportData) -> None:
    assert data.teacher == TEACHER and data.winner_shape
    section = layers_section(data)
    depth = data.winner_shape.num_hidden_layers
    step = 6 // depth
    assert section.table
    rows = [(str(i), str(i * step), str(6 - depth + i)) for i in range(1, depth + 1)]
    assert list(section.table.rows) == rows
    assert "not known" in layers_section(bare).missing


def test_a_layer_map_of_any_name_is_drawn(data: ReportData) -> None:
    for mapping in MAPS:
        settings = data.settings.model_copy(update={"mapping": mapping})
        figure = layers_section(replace(data, settings=settings)).views["map"]
        assert [trace.name for trace in figure.data][:-2] == mapping.split("+")
    assert data.winner_shape
    depth = data.winner_shape.num_hidden_layers
    for mapping, name in (("learned", "learned"), ({depth: ((1, 2),) * depth}, "given")):
        settings = data.settings.model_copy(update={"mapping": mapping})
        section = layers_section(replace(data, settings=settings))
        assert section.views["map"].data[0].name == name
        assert section.table and section.table.rows[0][1].startswith("1+2")


def test_curves_latencies_and_scores(data: ReportData) -> None:
    losses = losses_section(data)
    assert list(losses.views) == ["mini-KD", "full KD"]
    assert [t.name for t in losses.views["mini-KD"].data][-1] == "winner, trial 2"
    assert len(losses.views["full KD"].data) == 4
    latency = latency_section(data)
    student = next(t for t in latency.views["milliseconds"].data if t.name == "student, batch 8")
    assert student.error_y.array[0] == pytest.approx(0.2 * student.y[0])
    assert list(latency.views["speed-up"].data[0].y) == pytest.approx([4, 4])
    assert latency.table and latency.table.rows[-1][1] == "too slow to time"
    labels = scores_section(data).views["scores"].data[0].y
    assert labels[2] == "fine-tuned without<br>KD" and "onerror" in labels[-1]
    scores = scores_section(data).table
    assert scores and scores.rows[0] == ("teacher", "0.8400", "0.8600", "22.71M", "1.00x")


def test_an_interval_that_begins_at_zero_is_told(data: ReportData) -> None:
    report = report_of(student__intervals={"accuracy": (0.0, 0.87)})
    table = scores_section(replace(data, report=report)).table
    assert table and table.rows[1][1] == "0.8400 (0.000 to 0.870)"


def test_errors_in_small_units_keep_their_digits_everywhere(data: ReportData) -> None:
    scores = {"pearson": 0.84, "mae": 3.12e-5}
    seeds = Seeds.of({1: scores, 2: {"pearson": 0.82, "mae": 3.36e-5}}, 1)
    low = {"name": "always 0", "scores": {"pearson": 0.5, "mae": 8.8e-5}}
    given = {"scores": scores, "intervals": {"mae": (2.9e-5, 3.4e-5)}, "seeds": seeds}
    given = {f"student__{name}": value for name, value in given.items()}
    of = {"task_type": "regression", "main_score": "pearson"}
    report = report_of(**given, **of, teacher__scores=scores, controls=[], baselines=[low])
    made = replace(data, report=report)
    section = scores_section(made)
    assert section.table and section.table.rows[1][2] == "3.1e-05 (2.9e-05 to 3.4e-05)"
    lines = closing_lines(report, Path("runs/a"))
    shown = [line.split() for line in lines]
    assert ["teacher", "22.7M", "1.00x", "0.8400", "3.1e-05"] in shown
    assert max(map(len, lines)) <= 80 and not any("…" in line for line in lines)
    for text in ("\n".join(lines), markdown_of(made), model_card(report)):
        assert "3.1e-05" in text and "8.8e-05" in text and "0.0000" not in text
    for text in ("\n".join(lines), model_card(report)):
        assert "3.2e-05 ± 1.7e-06" in text


def test_the_page_says_which_choices_were_not_tried(data: ReportData) -> None:
    assert data.report and data.report.search
    untried = {"recipes": ["logits", "patient"], "vocabularies": ["task"]}
    search = data.report.search.model_copy(update={"not_tried": untried})
    told = lead(replace(data, report=data.report.model_copy(update={"search": search})))
    assert told[1].endswith(" Recipes not tried: logits, patient. Vocabularies not tried: task.")
    assert "not tried" not in "".join(lead(data))


def test_a_run_without_a_student_says_what_is_missing(bare: ReportData) -> None:
    assert bare.report is None and bare.winner is not None
    assert "kdnas resume" in scores_section(bare).missing
    assert "curves.jsonl" in losses_section(bare).missing
    assert "Not measured" in latency_section(bare).missing
    assert [t.name for t in front_figure(bare).data][-2:] == ["best so far", "teacher"]
    assert seconds_section(bare).table


def test_an_unfinished_run_says_how_far_it_is(bare: ReportData) -> None:
    best = bare.table.reward.max()
    first, second = progress_lines(bare.progress)
    assert first == f"3 of 20 trials are done; best reward {best:.4f}"
    assert f"(trial {bare.winner}), score " in second
    assert bare.progress["best"]["reward"] == pytest.approx(best, abs=1e-5)
    assert lead(bare)[0] == f"{first}. B{second[1:]}."
    empty = replace(bare, table=bare.table.head(0), winner=None)
    assert empty.progress["best"] is None and len(progress_lines(empty.progress)) == 1
    lasting = replace(bare, settings=bare.settings.model_copy(update=BY_TIME))
    assert lasting.progress["planned"] is None, "its search has not begun to count"
    assert progress_lines(lasting.progress)[0].startswith("3 trials are done; best")
    lines = report_lines(bare, Path("runs/a"), None)
    assert lines[:2] == [first, second] and max(map(len, lines)) <= 80
    assert lines[2] == "no student yet; run: kdnas resume runs/a"


def test_a_student_that_is_trained_but_not_reported_is_not_denied(
    bare: ReportData, tmp_path: Path
) -> None:
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "config.json").write_text("{}")
    trained = replace(bare, folder=tmp_path)
    told = "the student is trained, but not reported yet; run: kdnas resume runs/a"
    assert told in report_lines(trained, Path("runs/a"), None)


def test_the_machines_of_a_search_are_told_apart(data: ReportData) -> None:
    assert "a: 7 trials, 16 s" in seconds_section(data).told


def test_a_picture_has_colours_of_its_own(data: ReportData) -> None:
    assert "var(--" in front_figure(data).to_json()
    assert "var(--" not in fixed(front_figure(data)).to_json()


def test_a_page_holds_plotly_once_or_refers_to_it(data: ReportData, tmp_path: Path) -> None:
    section = front_section(data)
    write_page(tmp_path / "a.html", "<b>", [section, replace(section, key="again")])
    page = (tmp_path / "a.html").read_text()
    assert page.count("plotly.js v") == 1 and "<title>&lt;b&gt;</title>" in page
    assert "<script src" not in page
    write_page(tmp_path / "b.html", "b", [section], plotly="cdn")
    page = (tmp_path / "b.html").read_text()
    assert len(page) < 200_000 and 'src="https://cdn.plot.ly/plotly-' in page
    assert 'integrity="sha256-' in page
    write_page(tmp_path / "c.html", "c", [Section("a", "A", "a", missing="none")])
    assert len((tmp_path / "c.html").read_text()) < 20_000


def test_a_task_of_a_file_has_its_own_name(tmp_path: Path) -> None:
    file = tmp_path / "stars.yaml"
    file.write_text("reviews: {text: {text: []}}")
    run = make_run(tmp_path / "run", trials=3, finished=False, task=str(file))
    found = read_run(run)
    assert found.title.endswith(" for reviews")
    assert comparison({"run": found})[0]["task"] == "reviews"
    file.unlink()
    assert read_run(run).task == "stars"


def test_runs_compare(data: ReportData, bare: ReportData) -> None:
    rows = comparison({"one": data, "a/very/long/name/of/a/folder/two": bare})
    assert [row["evaluated"] for row in rows] == [14, 3]
    assert rows[0]["final"] == 0.84 and rows[1]["final"] is None
    lines = comparison_lines(rows)
    assert max(map(len, lines)) <= 80 and lines[2].startswith("...")
    empty = replace(bare, table=bare.table.head(0))
    with pytest.raises(KdnasError, match="two has no finished trial"):
        comparison({"one": data, "two": empty})


def test_a_comparison_says_where_scores_do_not_compare(data: ReportData, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    for other, told in ((data, False), (replace(data, task="rte"), True)):
        write_comparison(page, {"one": data, "two": other}, "cdn")
        assert ("several tasks (sst2, rte)" in page.read_text()) == told


def test_teachers_of_one_last_name_are_told_apart(data: ReportData, tmp_path: Path) -> None:
    names = ("org-a/bert-mini", "org-b/bert-mini", "org-a/bert-mini")
    runs = {name: replace(data, teacher_name=name) for name in names}
    assert [row["teacher"] for row in comparison(runs)] == ["org-a/bert-mini", "org-b/bert-mini"]
    write_comparison(tmp_path / "page.html", runs, "cdn")
    told = "several teachers (org-a/bert-mini, org-b/bert-mini): do not compare them"
    assert told in (tmp_path / "page.html").read_text()
    assert data.teacher_name.startswith("/somewhere/") and "somewhere" not in data.title
    same = {name: replace(data, teacher_name="org-a/bert-mini") for name in ("one", "two")}
    assert [row["teacher"] for row in comparison(same)] == ["bert-mini", "bert-mini"]


def test_fronts_compare_by_the_timing_that_held(
    data: ReportData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Section] = []
    monkeypatch.setattr(
        "kdnas.report.compare.write_page",
        lambda _path, _title, sections, **_: drawn.extend(sections),
    )
    best = front(data.table).iloc[0]
    slow = data.table.speedup.where(data.table.speedup != best.speedup, 0.1)
    held = replace(data, held=data.table.assign(speedup=slow))
    write_comparison(tmp_path / "page.html", {"one": data, "two": held}, "cdn")
    lines = {trace.name: trace.x for trace in drawn[0].views["speed-up"].data}
    assert best.speedup in lines["one"] and best.speedup not in lines["two"]


def test_a_comparison_says_what_scores_are(data: ReportData, tmp_path: Path) -> None:
    page, agreed = tmp_path / "page.html", agreeing(data)
    for runs, told in (
        ({"one": data, "two": data}, "Scores are shares of the teacher"),
        ({"one": agreed, "two": agreed}, "Scores are how far students predict what the teacher"),
        ({"one": data, "two": agreed}, "Scores are not of one kind, those of one shares of"),
    ):
        write_comparison(page, runs, "cdn")
        assert told in page.read_text()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mini_score": "logits"}, "of two 1 less the held-out loss by --mini-score logits --norm"),
        ({"normalisation": "raw"}, "by --mini-score hidden --normalisation raw: do not compare"),
        ({"scorer": "mine"}, "shares of the teacher's variance, those of two what the scorer mine"),
    ],
)
def test_scores_of_other_options_are_of_another_kind(
    data: ReportData, tmp_path: Path, changes: dict[str, str], told: str
) -> None:
    other = replace(data, settings=data.settings.model_copy(update=changes))
    write_comparison(tmp_path / "page.html", {"one": data, "two": other}, "cdn")
    page = html.unescape((tmp_path / "page.html").read_text())
    assert told in page and "Scores are not of one kind, those of one" in page


def test_fidelity_says_what_scores_are(data: ReportData) -> None:
    explained, agreed = (fidelity_section(one).told for one in (data, agreeing(data)))
    assert "score (the share of the teacher's variance that it explains) against" in explained
    assert "variance" not in agreed
    assert "score (how far it predicts what the teacher predicts, after a short run" in agreed


def agreeing(data: ReportData) -> ReportData:
    """The run with scores as of several recipes."""
    settings = data.settings.model_copy(update={"mini_score": "agreement"})
    return replace(data, settings=settings)


def test_a_page_of_a_run_is_written_elsewhere_and_the_run_stays_as_it_is(
    data: ReportData, bare: ReportData, tmp_path: Path
) -> None:
    for one in (data, bare):
        before = {path: path.stat().st_mtime_ns for path in one.folder.rglob("*")}
        page = tmp_path / "page.html"
        write_page_of(page, one, "cdn")
        text = page.read_text()
        order = [text.index(f'id="{key}"') for key in ("front", "next", "words", "data")]
        assert order == sorted(order) and text.index('class="lead"') < order[0]
        assert "data-reload" not in text
        write_page_of(page, one, "cdn", 5.0)
        assert 'data-reload="5.0"' in page.read_text()
        assert before == {path: path.stat().st_mtime_ns for path in one.folder.rglob("*")}


def test_a_page_tells_commands_settings_and_words(data: ReportData, bare: ReportData) -> None:
    lines = [command.line for command in next_section(data).commands]
    assert f"kdnas report {data.folder} --markdown" in lines
    assert [c.line.split()[1] for c in next_section(bare).commands] == ["resume", "report"]
    table = settings_section(data).table
    assert table and {row[0] for row in table.rows} == set(Settings.model_fields)
    words = words_section(data).table
    assert words and [row[0] for row in words.rows][:2] == ["score", "reward"]


@pytest.mark.parametrize(
    ("place", "which"),
    [("students/trial-2", "--trial 2"), ("family/2x", "--student family/2x")],
)
def test_a_page_of_another_student_gives_commands_for_that_one(
    data: ReportData, place: str, which: str
) -> None:
    run, home = data.folder, data.folder / place
    model = f"{home}/student"
    lines = [command.line for command in next_section(replace(data, home=home)).commands]
    assert lines[0] == f"kdnas predict {model} 'a text'"
    assert f"kdnas evaluate {model} --config {run}/config.yaml" in lines
    assert f"kdnas export {run} {which} --format onnx,int8" in lines
    assert not any("--markdown" in line for line in lines), "that of a run tells of its own"
    other = replace(data, home=home)
    assert commands(other)["shipped"] == command_of(other, 2) == lines[0]
    assert commands(other)["command"] == f"kdnas distill {run} --trial "
    assert commands(data)["shipped"] == f"kdnas predict {run} 'a text'"


def test_a_page_of_another_student_scores_it_on_the_task_of_its_run(
    teacher_folder: Path, tmp_path: Path, command: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(settings: Settings, *_: object) -> None:
        raise KdnasError(f"task {settings.task}")

    monkeypatch.setattr("kdnas.evaluation.evaluate.find_tasks", chosen)
    run = make_run(tmp_path / "run", task="sst2")
    home, config = run.folder / "students" / "trial-2", run.folder / "config.yaml"
    shutil.copytree(teacher_folder, home / "student")
    lines = next_section(replace(read_run(run), home=home)).commands
    [line] = [one.line for one in lines if one.line.startswith("kdnas evaluate")]
    assert command(*shlex.split(line)[1:]) == (2, "kdnas: task sst2\n")
    config.write_text(config.read_text().replace("\ntask: sst2\n", "\ntask: null\n"))
    assert command(*shlex.split(line)[1:]) == (2, f"kdnas: task {DEFAULT_TASK}\n")
    config.write_text("seed: 3\n")  # no run's
    assert command(*shlex.split(line)[1:]) == (2, "kdnas: task None\n")


def test_the_page_asks_the_student_of_a_task_on_pairs_about_a_pair(data: ReportData) -> None:
    assert data.report
    facts = DataFacts(length=8, splits={}, proxy=9, texts=2)
    paired = replace(data, report=data.report.model_copy(update={"data": facts}))
    line = f"kdnas predict {data.folder} 'a text' --text-pair 'another'"
    assert command_of(paired, 2) == commands(paired)["shipped"] == line


@pytest.mark.parametrize(
    ("given", "half"),
    [
        *(("0x128", "0x64"), ("1x128", "1x64"), ("5x128", "2x128")),
        *(("6+1x128", "3+1x128"), ("6+4x128", "3+2x128"), ("1+1x128", "1+1x64")),
    ],
)
def test_a_smaller_student_is_one_that_can_be_distilled(
    bare: ReportData, given: str, half: str
) -> None:
    layers, wide = given.split("x")
    deep, decoder = map(int, f"{layers}+0".split("+")[:2])
    shape = Architecture(deep, min(deep, 1), int(wide), 128, "gelu", num_decoder_layers=decoder)
    report = report_of(search=None)
    student = report.student.model_copy(update={"architecture": shape})
    alone = replace(bare, report=report.model_copy(update={"student": student}))
    lines = [command.line for command in next_section(alone).commands]
    assert any(f" --architecture {half} " in line for line in lines)


def test_the_page_beside_another_student_is_of_that_one(
    data: ReportData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes: dict[Path, Path] = {}

    def drawn(path: Path, of: ReportData, *more: object) -> None:
        homes[path] = of.home

    monkeypatch.setattr("kdnas.report.write._write_sections", drawn)
    monkeypatch.setattr(
        "kdnas.report.write._write_trials",
        lambda run, of, *more: homes.update({run.folder: of.home}),
    )
    shutil.copytree(data.folder, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    home = run.folder / "students/trial-2"
    (home / "student").mkdir(parents=True)
    assert data.report
    write_report(run, data.study, None, data.report, home)
    assert homes == {home / "report.html": home, run.folder: run.folder}


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        ({"speedup": None}, "half the latency at the same score earns 4.2% more."),
        ({"speedup": 2.0}, "within --speedup 2, less latency earns nothing more: the best score"),
        ({"speedup": 2.0, "cost": "macs"}, "half the MACs at the same score earns 4.2% more."),
        (
            {"cost": "params", "max_params": 2_000_000},
            "within --max-params 2,000,000, fewer parameters earn nothing more: the best score",
        ),
    ],
)
def test_the_word_reward_says_what_a_lower_cost_earns(
    bare: ReportData, given: dict[str, Any], ends: str
) -> None:
    changed = replace(bare, settings=bare.settings.model_copy(update=given))
    words = words_section(changed).table
    assert words and ends in dict(words.rows)["reward"]


def test_what_the_score_was_worth_has_a_count_or_a_command(
    data: ReportData, bare: ReportData
) -> None:
    assert worth(bare) is None
    known = worth(data)
    assert known and ("n = " in known.sentence or "kdnas fidelity tells" in known.sentence)
    made = [Trained(f"{i}x16", 0.1 * i, 0.2 * i) for i in range(4)]
    scores, finals = [one.score for one in made], [one.final for one in made]
    assert "tau 1.00 (n = 4" in Worth("mcc", made, agreement(scores, finals)).sentence
    shipped = {"rows": 9, "shipped": ON_LABELS, "scores": {}}
    assert data.report is not None
    own = data.report.student.scores[data.report.main_score]
    assert any(one.final == own for one in known.students)
    other = data.report.model_copy(update={"selection": Selection(**shipped)})
    without = worth(replace(data, report=other, others=[]))
    assert without and all(one.final != own for one in without.students)
    equal = [one._replace(final=0.0) for one in made]
    told = Worth("mcc", equal, agreement(scores, [0.0] * 4)).sentence
    assert "all 4 final scores are equal (0.0000): no rank correlation" in told


def taught(data: ReportData, trial: int, shipped: str) -> Report:
    """Of a trial's student with assistants, whose score 0.99 is not that of 0.7 without them."""
    assert data.report is not None
    candidate = candidate_of(records(data.table[data.table.number == trial])[0])
    report, main = data.report, data.report.main_score
    names = {SEARCHED: f"{candidate.label} taught by 4x384", WITHOUT_ASSISTANTS: candidate.label}
    scores = {SEARCHED: {main: 0.99}, WITHOUT_ASSISTANTS: {main: 0.7}}
    other = next(name for name in names if name != shipped)
    own = {"trial": trial, "name": names[shipped], "scores": scores[shipped]}
    beside = {"name": other, "folder": other, "scores": scores[other]}
    beside["architecture"] = candidate.architecture
    chosen = Selection(rows=9, shipped=shipped, scores={})
    student = report.student.model_copy(update=own)
    controls = [report.controls[0].model_copy(update=beside)]
    changes = {"student": student, "controls": controls, "selection": chosen}
    return report.model_copy(update=changes)


@pytest.mark.parametrize("shipped", [SEARCHED, WITHOUT_ASSISTANTS])
def test_a_student_without_assistants_stands_for_its_trial(data: ReportData, shipped: str) -> None:
    other = taught(data, 12, shipped)
    known = worth(replace(data, others=[other]))
    assert known is not None
    label = candidate_of(records(data.table[data.table.number == 12])[0]).label
    assert [one.final for one in known.students if one.name == label] == [0.7]
    assert all(one.final != 0.99 for one in known.students)


def test_students_of_one_shape_are_told_apart_by_recipe_and_vocabulary(data: ReportData) -> None:
    assert data.report is not None
    settings = data.settings.model_copy(update={"vocabularies": "teacher,task"})
    table, main = finished(data.table)[:3].copy(), data.report.main_score
    shape = [name for name in FIELDS if name in table]
    for name in shape:
        table[name] = table[name].iloc[0]
    table["recipe"], table["vocabulary"] = ["default", "pkd", "pkd"], ["teacher", "teacher", "task"]
    table["number"], table["loss"] = [2, 3, 4], [0.4, 0.3, 0.2]
    table["score"] = 1 - table.loss
    candidates = [candidate_of(row) for row in records(table)]
    first = data.report.controls[0].model_copy(update={"folder": "hand-picked"})
    controls = [
        first.model_copy(
            update={"architecture": one.architecture, "scores": {main: one_score}}
        ).model_copy(update={"recipe": one.recipe, "vocabulary": one.vocabulary})
        for one, one_score in zip(candidates[1:], (0.7, 0.8), strict=True)
    ]
    report = data.report.model_copy(update={"controls": controls})
    made = replace(data, settings=settings, table=table, report=report, others=[], curves=[])
    known = worth(made)
    assert known and [one.name for one in known.students] == [one.label for one in candidates]
    assert [round(one.score, 3) for one in known.students] == [0.6, 0.7, 0.8]


def test_a_damaged_fidelity_file_is_left_out_of_the_page_with_a_word(
    data: ReportData, tmp_path: Path
) -> None:
    told = replace(data, fidelity_wrong="fidelity.json is left out")
    assert "fidelity.json is left out" in fidelity_section(told).missing


def test_a_pull_request_gets_verdict_and_table(data: ReportData, bare: ReportData) -> None:
    lines = markdown_of(data).splitlines()
    assert lines[0].startswith("### Students of ") and "|---|---:" in "".join(lines)
    assert any(line.startswith("| student |") for line in lines)
    assert "3 of 20 trials are done" in markdown_of(bare)


def test_steps_are_told_in_words() -> None:
    assert step_in_words("distil student") == "distil the student in full"
    assert step_in_words("evaluate controls hand-picked").endswith("the control: hand-picked")
    assert step_in_words("a step of tomorrow") == "a step of tomorrow"


def scattered(*ys: float, name: str = "students") -> go.Figure:
    figure = go.Figure()
    return figure.add_scatter(x=list(range(len(ys))), y=list(ys), mode="markers", name=name)


def test_a_dot_far_out_stands_at_the_edge_and_tells_its_value() -> None:
    figure = clip(scattered(0.80, 0.81, -3.0, 0.82, 0.83), "y")
    low, high = figure.layout.yaxis.range
    assert -0.1 < low < 0.8 and 0.83 < high < 0.9
    [mark] = figure.data[1:]
    assert (mark.marker.symbol, mark.text[0], mark.x[0]) == ("triangle-down", "-3", 2)
    assert low < mark.y[0] < 0.8 and "off the scale" in mark.hovertemplate


def test_axes_with_room_for_all_are_left_alone() -> None:
    for ys in ((0.80, 0.81, 0.79, 0.82), (0.8, 0.1), (0.5,) * 5, (0.80, 0.82, 0.82, 0.82), ()):
        figure = clip(scattered(*ys), "y")
        assert len(figure.data) == 1 and figure.layout.yaxis.range is None
    figure = scattered(0.50, 0.51, 0.52, 0.53)
    figure.add_scatter(x=[1], y=[5.0], mode="markers", name="teacher")
    assert len(clip(figure, "y", ["teacher"]).data) == 2


def test_runs_have_the_names_of_their_folders(tmp_path: Path) -> None:
    names = names_of([tmp_path / "a", tmp_path / "b"])
    assert names == ["a", "b"]
    same = names_of([tmp_path / "x" / "a", tmp_path / "y" / "a"])
    assert len(set(same)) == 2
