"""Each mistake: one line on standard error that names the thing, exit code 2, no traceback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import kdnas
from made_runs import make_run

from kdnas.cli.app import main
from kdnas.errors import KdnasError
from kdnas.files.atomic import make_writable


@pytest.fixture
def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs a command that must be refused; returns the line it printed."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr("sys.argv", ["kdnas", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        error = capsys.readouterr().err
        assert caught.value.code == 2
        assert error.count("\n") == 1 and "Traceback" not in error
        return error

    return run


def test_settings(refused: Callable[..., str], quick_flags: list[str], tmp_path: Path) -> None:
    out = ["--out", tmp_path / "run"]
    assert "invalid --trials 0" in refused("search", *quick_flags, *out, "--trials", 0)
    assert "invalid --alpha 0.5" in refused("search", *quick_flags, *out, "--alpha", 0.5)
    assert "invalid --trials many" in refused("search", *quick_flags, *out, "--trials", "many")
    assert "--trails" in refused("search", *quick_flags, *out, "--trails", 3)
    assert "invalid --sampler tpr" in refused("search", *quick_flags, *out, "--sampler", "tpr")
    assert "invalid --device 'cud'" in refused("search", *quick_flags, *out, "--device", "cud")
    (tmp_path / "a.yaml").write_text("trails: 3")
    line = refused("search", *quick_flags, *out, "--config", tmp_path / "a.yaml")
    assert f"{tmp_path}/a.yaml: unknown option 'trails'; did you mean 'trials'" in line
    assert "such command" in refused("serch").lower()


def test_a_search_says_where_options_of_one_student_go(
    refused: Callable[..., str], quick_flags: list[str]
) -> None:
    for option, value in (("--kept-layers", 1), ("--sparsity", 0.5)):
        line = refused("search", *quick_flags, option, value)
        assert f"{option} goes with kdnas distill --pruned; a search chooses" in line
    line = refused("search", *quick_flags, "--pruned", "ziplm", "--speedup", 3)
    assert "invalid --pruned ziplm: a search chooses its students; use --search-over" in line
    line = refused("search", *quick_flags, "--architecture", "1x16")
    assert "invalid --architecture 1x16: a search finds the shape" in line
    line = refused("search", *quick_flags, "--speedup", 0.5)
    assert "invalid --speedup 0.5: expected a number of at least 1, or none" in line


def test_options_that_are_no_settings(refused: Callable[..., str], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run").folder
    line = refused("export", run, "--max-drop", 2)
    share = "a share of the score's range (0.01: 1 point of 100)"
    assert line == f"kdnas: invalid --max-drop '2.0': expected a number from 0 to 1, {share}\n"
    line = refused("export", run, "--max-drop", "lots")
    assert line == "kdnas: invalid --max-drop lots: expected a number\n"
    line = refused("distill", run, "--trial", "inf")
    assert line == "kdnas: invalid --trial inf: expected an integer\n"
    long = refused("report", run, "--png", "x" * 3000)
    assert "invalid --png xxx" in long and len(long) < 300


def test_a_refused_resume_changes_nothing(refused: Callable[..., str], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    run.settings = run.settings.model_copy(update={"teacher": "someone/model"})
    run.save()
    before = (run.folder / "config.yaml").read_text()
    assert "this machine has none" in refused("resume", run.folder, "--device", "xpu")
    assert (run.folder / "config.yaml").read_text() == before


def test_places_that_cannot_be_used(
    refused: Callable[..., str],
    quick_flags: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path / "file"))
    line = refused("search", *quick_flags, "--out", tmp_path / "run")
    assert f"cannot write to {tmp_path}/file" in line and "set KDNAS_CACHE" in line
    run = make_run(tmp_path / "made").folder
    line = refused("report", run, run, "--out", tmp_path)
    assert "it is a folder" in line
    with pytest.raises(KdnasError, match="cannot write to .*/file: File exists"):
        make_writable(tmp_path / "file")


def test_tasks_and_data(
    refused: Callable[..., str], quick_flags: list[str], tmp_path: Path
) -> None:
    out = ["--out", tmp_path / "run"]
    assert "'mprc'" in refused("search", *quick_flags, *out, "--task", "mprc")
    line = refused("search", *quick_flags, *out, "--data-dir", tmp_path / "nowhere")
    assert "nowhere" in line
    (tmp_path / "data" / "MRPC").mkdir(parents=True)
    file = tmp_path / "data" / "MRPC" / "train.tsv"
    dev = tmp_path / "data" / "MRPC" / "dev.tsv"
    good = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\ta\tb\n0\t1\t2\ta\tb\n"
    dev.write_text(good)
    file.write_text("Quality\tfirst\n1\ta\n")
    given = ["search", *quick_flags, "--data-dir", tmp_path / "data"]
    assert "train.tsv" in refused(*given, "--out", tmp_path / "run")
    file.write_text(good.replace("\n1\t", "\nyes\t"))
    assert "'yes'" in refused(*given, "--out", tmp_path / "run")
    file.write_text(good)
    assert "found 2 training examples, fewer than two batches of 16" in refused(
        *given, "--out", tmp_path / "run"
    )
    assert not (tmp_path / "run").exists()


def test_tasks_of_which_none_is_chosen(
    refused: Callable[..., str], teacher_folder: Path, tmp_path: Path
) -> None:
    file, two = tmp_path / "toy.yaml", tmp_path / "two.yaml"
    toy = "tasks:\n  toy: {text: sentence, label: label}\n"
    file.write_text(toy)
    two.write_text(f"{toy}  other: {{text: sentence, label: label}}\ntrials: 2\n")
    commands = (
        ("search", "--teacher", teacher_folder),
        ("search",),
        ("distill", "--teacher", teacher_folder, "--architecture", "1x16"),
        ("evaluate", teacher_folder),
    )
    for words in commands:
        line = refused(*words, "--config", file)
        chosen = "give --task toy or a line `task: toy`"
        assert line == f"kdnas: no task is chosen: {file} defines toy; {chosen}\n"
    assert f"{two} defines toy, other; give --task toy or" in refused("search", "--config", two)
    line = refused("search", "--config", file, "--task", "toy", "--data-dir", "x")
    assert "data folder" in line and "does not exist" in line


def test_teachers(
    refused: Callable[..., str],
    quick_flags: list[str],
    teacher_folder: Path,
    make_teacher: Callable[..., Path],
    tmp_path: Path,
) -> None:
    from transformers import AutoConfig

    given = ["search", *quick_flags, "--out", tmp_path / "run", "--teacher"]
    assert "nowhere' does not exist" in refused(*given, tmp_path / "nowhere")
    AutoConfig.for_model("gpt2").save_pretrained(tmp_path / "gpt2")
    assert "is a decoder alone" in refused(*given, tmp_path / "gpt2")
    (tmp_path / "empty").mkdir()
    assert "empty' has no config.json; give a folder" in refused(*given, tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text("{}")
    line = refused(*given, tmp_path / "empty")
    assert "it names no model_type" in line and "hub" not in line
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(teacher_folder / name, bare)
    assert "has no tokenizer" in refused(*given, bare)
    line = refused(*given, make_teacher(vocab_size=50))
    assert "has tokens up to 1" in line and "vocab_size is 50" in line
    narrower = make_teacher(intermediate_size=32)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(narrower / name, bare)
    assert "do not fit its config: bert.encoder.layer.0" in refused(*given, bare)
    assert not (tmp_path / "run").exists()
    assert "is a decoder alone" in refused("space", "--teacher", tmp_path / "gpt2")


def test_folders(refused: Callable[..., str], quick_flags: list[str], tmp_path: Path) -> None:
    assert "holds no kdnas run" in refused("resume", tmp_path)
    assert "absent does not exist" in refused("report", tmp_path / "absent")
    (tmp_path / "file").touch()
    given = ["search", *quick_flags, "--out"]
    assert "cannot write to" in refused(*given, tmp_path / "file" / "run")
    if os.geteuid() != 0:
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
        assert "cannot write to" in refused(*given, locked / "run")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("alpha: -0.5\n")
    assert "holds another study" in refused(*given, run)
    told = refused("resume", run, "--finish", "--trials", 9)
    assert "--finish and --trials contradict each other" in told
    (run / "config.yaml").write_text("alhpa: -0.5\n")
    assert "'alhpa'" in refused("resume", run)


@pytest.mark.slow
def test_a_damaged_study_is_named_and_left_alone(
    refused: Callable[..., str], quick_flags: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = kdnas("search", *quick_flags, "--trials", 1, "--out", run)
    assert done.returncode == 0, done.stderr
    (run / "study.db").write_bytes(b"damaged" * 1000)
    report = (run / "report.json").read_bytes()
    assert "study.db" in refused("resume", run, "--trials", 2)
    assert "study.db" in refused("report", run)
    assert (run / "report.json").read_bytes() == report


def test_distill_needs_one_choice(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "give either --trial N or --speedup X" in refused("distill", tmp_path)
    assert "invalid --trial -1: expected the number of a trial" in refused(
        "distill", tmp_path, "--trial", -1
    )


@pytest.mark.parametrize(
    ("speedup", "problem"),
    [
        ("-1", "expected a number above 0"),
        ("0", "expected a number above 0"),
        ("nan", "expected a finite number"),
        ("inf", "expected a finite number"),
        ("fast", "expected a number"),
    ],
)
def test_distill_wants_a_speedup_as_search_does(
    refused: Callable[..., str], tmp_path: Path, speedup: str, problem: str
) -> None:
    assert f"invalid --speedup {speedup}: {problem}" in refused(
        "distill", tmp_path, "--speedup", speedup
    )


def test_reports(refused: Callable[..., str], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", trials=1).folder
    assert "invalid --plotly-js file" in refused("report", run, "--plotly-js", "file")
    assert "invalid --png a.txt" in refused("report", run, "--png", "a.txt")
    assert "--png draws the front of one run" in refused("report", run, run, "--png", "a.png")
    assert "--markdown makes no page" in refused("report", run, "--markdown", "--open")
    assert "give one run" in refused("report", run, run, "--watch")
    assert "nowhere does not exist" in refused("report", run, tmp_path / "nowhere")
