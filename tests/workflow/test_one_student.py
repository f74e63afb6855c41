"""One student of a given shape: `kdnas distill --teacher T --task K --architecture SHAPE`."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import QUICK, Said, flags_of, kdnas
from made_runs import make_run
from support.processes import kdnas_child
from support.tiny import save_animals
from transformers import AutoModelForSequenceClassification

from kdnas import KdnasError, distill, load_run, predict, resume
from kdnas.files.artifact import content_of
from kdnas.report.model import DISTILLED
from kdnas.scoring.costs import FINAL
from kdnas.workflow.distilling import choose
from kdnas.workflow.distilling.measure import Control

ONE = {k: v for k, v in QUICK.items() if k not in ("random_control", "finalists", "screen")}
SHAPE = {"num_hidden_layers": 2, "hidden_size": 20, "hidden_act": "relu"}
CONTROL = "fine-tuned without KD"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, teacher_folder: Path, data_folder: Path) -> Path:
    """A finished run of one shape; copy it to change it."""
    out = tmp_path_factory.mktemp("one") / "run"
    given = {**ONE, "data_dir": data_folder, "out": out}
    return distill(teacher=teacher_folder, task="mrpc", architecture=SHAPE, **given).folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def flags(teacher_folder: Path, data_folder: Path) -> list[str]:
    """Flags that every run here has."""
    return flags_of({"teacher": teacher_folder, "task": "mrpc", "data_dir": data_folder, **ONE})


def test_the_report_has_student_control_and_floor_and_no_search(made: Path) -> None:
    names = {path.name for path in made.iterdir()}
    assert {"config.yaml", "report.json", "report.html", "student", "teacher", "controls"} <= names
    assert not names & {"study.db", "trials.csv", "random-search.csv", "pareto.html", "trials"}
    assert yaml.safe_load((made / "config.yaml").read_text())["architecture"] == "2x20-relu"
    found = load_run(made)
    report = found.report
    assert report is not None and report.search is None and report.student.trial is None
    # Heads of 10 are nearest to the teacher's 8, and 40 neurons are twice the width.
    assert report.student.name == "2x20 h2 f40 relu"
    (other,) = {DISTILLED, CONTROL} - {report.selection.shipped if report.selection else ""}
    assert [name for name, _ in report.models] == ["teacher", "student", other]
    assert [low.name for low in report.baselines] == ["always not_equivalent", "TF-IDF, linear"]
    assert report.selection is not None and set(report.selection.scores) == {DISTILLED, CONTROL}
    assert report.controls[0].architecture == report.student.architecture
    assert "search" not in report.verdict and report.speedup > 0
    assert found.trials.empty and found.scored.empty and found.front.empty
    assert json.loads((made / "report.json").read_text())["search"] is None


def test_the_table_of_latencies_has_the_timing_of_the_costs(made: Path) -> None:
    report = load_run(made).report
    assert report is not None
    [cell] = [one for one in report.latency if (one.batch, one.length) == (1, 16)]
    costs = [one.latency_ms for one in (report.student, report.teacher)]
    assert [cell.student_ms, cell.teacher_ms] == pytest.approx(costs, abs=1e-3)
    assert cell.repeats == FINAL * QUICK["latency_repeats"]


def test_the_student_is_a_plain_checkpoint_with_a_card(made: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(made / "student")
    assert model.config.num_hidden_layers == 2 and model.config.hidden_size == 20
    card = (made / "student" / "README.md").read_text(encoding="utf-8")
    assert "distilled by kdnas: 2x20 h2 f40 relu" in card and "The shape was given" in card
    told = card.lower()
    assert not any(word in told for word in ("sampler", "trial", "neural-architecture", "found by"))
    assert len(predict(made, ["a good film"], pairs=["a film"])) == 1


def test_the_page_has_no_part_of_a_search(run: Path, command: Said) -> None:
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Its shape was given" in page and "score and speed" in page
    for word in ("Pareto", "sampler", "reward", "trial", "random_control", "Course of the search"):
        assert word not in page.replace("plotly", "").rpartition("</script>")[2], word
    for section in ("front", "search", "matter", "parallel", "trust"):
        assert f'id="{section}"' not in page
    (run / "report.html").unlink()
    assert command("report", run)[0] == 0
    assert "student: " in command.all and "kdnas distill" not in command.all
    assert (run / "report.html").exists() and not (run / "pareto.html").exists()
    assert not (run / "trials.csv").exists()
    command.all = ""
    assert command("report", run, "--markdown")[0] == 0
    assert (
        CONTROL in command.all or DISTILLED in command.all
    ) and "score was worth" not in command.all


@pytest.mark.slow
def test_it_compares_with_a_search(run: Path, command: Said, tmp_path: Path) -> None:
    other = make_run(tmp_path / "searched").folder
    assert command("report", run, other, "--json", "--out", tmp_path / "both.html")[0] == 0
    one, searched = json.loads(command.all[command.all.index("[") :].rpartition("]")[0] + "]")
    assert one["sampler"] is None and searched["sampler"] == "lstm"
    assert one["final"] is not None and one["evaluated"] is None and searched["evaluated"] == 14
    assert command("report", run, run, "--out", tmp_path / "ones.html")[0] == 0
    assert "None of these runs has a search" in (tmp_path / "ones.html").read_text()


def test_a_finished_run_is_resumed_without_work(run: Path, command: Said) -> None:
    before = (run / "student" / "model.safetensors").stat().st_mtime_ns
    assert command("resume", run)[0] == 0
    assert "distilling" not in command.all and "fine-tuning the teacher" not in command.all
    assert (run / "student" / "model.safetensors").stat().st_mtime_ns == before


def test_an_unfinished_run_has_a_page(run: Path, command: Said) -> None:
    (run / "report.json").unlink()
    assert command("report", run, "--json")[0] == 0
    said = json.loads(command.all[command.all.index("{") :])
    assert said["report"] is None and said["progress"] == {}
    assert "No student is finished yet" in (run / "report.html").read_text(encoding="utf-8")
    assert command("report", run, run)[0] == 2
    assert "has no finished student to compare" in command.all


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["worker"], "has no study: it distils one shape, 2x20-relu; go on with `kdnas resume"),
        (["fidelity"], "/student) with `kdnas export "),
        (["distill", "--trial", 0], "has no study"),
        (["distill", "--speedup", 2], "has no study"),
        (["resume", "--rebuild-study"], "has no study"),
        (["resume", "--trials", 30], "invalid --trials 30: "),
        (["resume", "--mini-lr", 0.1], "the student was trained with 0.0005 already"),
        (["report", "--png", "x.png"], "--png draws the front of a search"),
        (["distill", "--architecture", "half"], "--architecture does not go with a RUN"),
        (["distill", "--epochs", 3, "--trial", 1], "--epochs does not go with a RUN"),
    ],
)
def test_what_needs_a_study_is_refused(
    run: Path, command: Said, arguments: list[Any], message: str
) -> None:
    kept = (run / "config.yaml").read_text()
    code, error = command(arguments[0], run, *arguments[1:])
    assert code == 2 and message in error and error.count("\n") == 1
    assert (run / "config.yaml").read_text() == kept and not (run / "study.db").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no student given: give --architecture, such as 6x256, or --pruned ziplm and"),
        (["--trial", 3], "--trial 3 needs a RUN"),
        (["--architecture", "half", "--speedup", 2], "--speedup and --architecture contradict"),
        (["--architecture", "2x0"], "hidden size 0 is less than 1; give 1 or more"),
        (["--architecture", "two"], "expected LAYERSxWIDTH"),
        (["--architecture", "4x32"], "4 layers are more than the teacher's 3; give 1 to 3"),
        (["--architecture", "2x32-h3"], "3 heads do not divide the hidden size 32; give 1, 2 or 4"),
        (["--architecture", "half", "--epochs", "x"], "invalid --epochs x"),
    ],
)
def test_bad_input_is_refused_before_anything_is_computed(
    flags: list[str], command: Said, tmp_path: Path, arguments: list[Any], message: str
) -> None:
    code, error = command("distill", *flags, "--out", tmp_path / "run", *arguments)
    assert code == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_search_takes_no_shape(run: Path, flags: list[str], command: Said) -> None:
    given = ["--config", run / "config.yaml", "--out", run.parent / "other"]
    code, error = command("search", *flags, *given)
    assert code == 2 and "a search finds the shape; leave it out" in error
    assert command("search", *flags, "--architecture", "half")[0] == 2


def test_the_api_refuses_what_does_not_go_together(run: Path) -> None:
    with pytest.raises(KdnasError, match="--architecture does not go with a RUN"):
        distill(run, architecture="half")
    with pytest.raises(KdnasError, match="no student given"):
        distill(teacher="bert-base-uncased")
    with pytest.raises(KdnasError, match="the train data changed since"):
        other = run.parent / "data"
        shutil.copytree(load_run(run).settings.data_dir or "", other)
        rows = (other / "MRPC" / "train.tsv").read_text().splitlines()
        (other / "MRPC" / "train.tsv").write_text("\n".join(rows[:-9]) + "\n")
        settings = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump({**settings, "data_dir": str(other)}))
        resume(run)


def test_a_dry_run_says_all_and_leaves_nothing(
    flags: list[str], command: Said, tmp_path: Path
) -> None:
    given = ("distill", *flags, "--architecture", "half", "--out", tmp_path / "run", "--dry-run")
    assert command(*given) == (0, "")
    told = " ".join(command.all.split())
    assert "student 2x32 h4 f64 gelu" in told and "5 steps" in told
    assert "control: the student on labels alone" in told
    assert "candidates" not in told and "by hand" not in told
    command.all = ""
    assert command(*given, "--json")[0] == 0
    said = json.loads(command.all[command.all.index("{\n") :].rpartition("}")[0] + "}")
    assert said["student"] == "2x32 h4 f64 gelu" and said["trials"] is None
    made = ["teacher", "evaluate teacher"]
    names = [*made, "distil student", "control fine-tuned", "report"]
    assert [step["name"] for step in said["steps"]] == names
    assert not (tmp_path / "run").exists()
    command.all = ""  # a recipe that goes on from a short training reads what the teacher says
    at = given.index("--epochs")  # the recipe has its own, and those of its last stage
    assert command(*given[:at], *given[at + 4 :], "--recipe", "states") == (0, "")
    assert "6 steps" in command.all and "3 store the teacher's outputs" in command.all


@pytest.mark.slow
def test_a_better_control_ships_and_the_distilled_student_is_kept(
    run: Path, command: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = DISTILLED

    def scored(prepared: object, one: Control) -> dict[str, Any]:
        right = int(one.name == best)
        part = {"predicted": [right] * 40, "truth": [1] * 40}
        return {"score": float(right), "rows": {"validation": part}}

    monkeypatch.setattr(choose, "_on_held_out_rows", scored)
    assert command("resume", run)[0] == 0
    best = CONTROL
    own, control = content_of(run / "student"), content_of(run / "controls" / "fine-tuned")
    for _ in range(2):
        assert command("resume", run)[0] == 0
        assert content_of(run / "student") == control != own
        assert content_of(run / "controls" / "distilled") == own
        report = load_run(run).report
        assert report is not None and report.selection is not None
        assert report.selection.shipped == CONTROL and report.controls[0].name == DISTILLED
        assert f'The student is "{CONTROL}"' in report.verdict
        assert "the distilled student 0.0000" in report.verdict
        assert "distilling" not in command.all


@pytest.mark.slow
def test_entities_through_the_command_line(
    teacher_folder: Path, command: Said, tmp_path: Path
) -> None:
    save_animals(tmp_path)
    file = tmp_path / "shape.yaml"
    file.write_text("architecture: {num_hidden_layers: 2}\nfinal_seeds: 2\ntrials: 9\n")
    given = {**ONE, "teacher": teacher_folder, "task": tmp_path / "animals.yaml"}
    given |= {"data_dir": tmp_path, "out": tmp_path / "run", "config": file}
    code, error = command("distill", *flags_of(given), "--json")
    assert code == 0, error
    said = json.loads(command.all[command.all.index("{\n") :].rpartition("}")[0] + "}")
    assert said["task_type"] == "token-classification" and said["search"] is None
    assert said["student"]["name"] == "2x32 h4 f64 gelu"
    assert set(said["student"]["seeds"]["scores"]) == {"0", "1"}
    command.all = ""
    code, error = command("predict", tmp_path / "run", "the good cat", "--quiet")
    assert code == 0 and "the good cat" in command.all
    assert command("evaluate", tmp_path / "run", "--device", "cpu", "--threads", 1)[0] == 0
    exported = ("export", tmp_path / "run", "--format", "onnx", "--no-timing")
    assert command(*exported, "--out", tmp_path / "served")[0] == 0, command.all


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_goes_on_where_it_was_stopped(flags: list[str], tmp_path: Path, how: int) -> None:
    run = tmp_path / "run"
    begin = ["distill", *flags, "--architecture", "halfx16", "--out", str(run)]
    for step in ("teacher", "distil student", "control fine-tuned"):
        process = kdnas_child(*(begin if step == "teacher" else ["resume", str(run)]))
        process.wait_until(started(run, step))
        process.kill(how)
        assert process.wait(60) != 0
        if how == signal.SIGINT:
            assert f"kdnas resume {run}" in process.output
    done = kdnas("resume", run)
    assert done.returncode == 0, done.stderr
    assert load_run(run).report is not None


def started(run: Path, step: str) -> Callable[[], bool]:
    """Whether a step of a run has begun."""

    def ready() -> bool:
        log = run / "log.jsonl"
        return log.exists() and f'"start", "step": "{step}"' in log.read_text()

    return ready
