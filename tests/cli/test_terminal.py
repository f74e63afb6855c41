"""What commands say: widths, --quiet, --json, the way in, completion."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from conftest import QUICK, flags_of
from made_runs import make_run

from kdnas import __version__
from kdnas.cli.app import app, main
from kdnas.runtime.console import conclude, manner, progress, say

COMMANDS = ("search", "resume", "distill", "worker", "space", "evaluate", "fidelity", "report")
Run = Callable[..., tuple[str, str]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process; returns what it printed to stdout and to stderr."""

    def run(*arguments: object) -> tuple[str, str]:
        monkeypatch.setattr("sys.argv", ["kdnas", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 0
        return capsys.readouterr()

    return run


def widest(text: str) -> int:
    return max(map(len, text.splitlines()))


def test_kdnas_alone_shows_the_way_in(told: Run) -> None:
    out, _ = told()
    assert out.index("kdnas search") < out.index("kdnas report RUN") < out.index("  resume")
    assert all(f"\n  {name} " in out for name in COMMANDS)
    assert widest(out) <= 80 and "..." not in out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_and_names_defaults(told: Run, command: str) -> None:
    out, _ = told(command, "--help")
    assert widest(out) <= 80
    assert "--quiet" in out and "--json" in out
    if command == "search":
        assert "[default: 20]" in out and "[default: gp]" in out
    if command in ("resume", "distill", "worker", "fidelity"):
        assert "default: the run's" in out and "[default: 20]" not in out


def test_no_help_text_loses_its_brackets(told: Run) -> None:
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        for text in (command.help, *(getattr(each, "help", "") for each in command.params)):
            assert not re.search(r"(?<!\\)\[", text or ""), f"{name}: {text}"
    assert "kdnas[png]" in told("report", "--help")[0]


def test_the_version(told: Run) -> None:
    assert told("--version") == (f"kdnas {__version__}\n", "")


@pytest.mark.slow
def test_json_is_alone_on_standard_output(told: Run, tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", trials=3, finished=False)
    out, _ = told("report", tmp_path / "a", "--json")
    assert json.loads(out)["student"]["trial"] == 2
    assert json.loads(out)["page"] == str(tmp_path / "a" / "report.html")
    out, _ = told("report", tmp_path / "b", "--json", "--plotly-js", "cdn")
    assert json.loads(out)["report"] is None and json.loads(out)["progress"]["trials"] == 3
    assert (tmp_path / "b" / "report.html").stat().st_size < 1e6
    page = tmp_path / "c.html"
    out, _ = told("report", tmp_path / "a", tmp_path / "b", "--out", page, "--json")
    assert [row["evaluated"] for row in json.loads(out)] == [14, 3] and page.exists()
    out, _ = told("report", tmp_path / "a", "--quiet")
    assert "\nteacher " in out
    assert max(len(line) for line in out.splitlines() if str(tmp_path) not in line) <= 80


def test_without_a_browser_it_is_said_where_the_page_is(
    told: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "a", trials=3, finished=False)
    monkeypatch.setattr("webbrowser.open", lambda _: False)
    out, _ = told("report", tmp_path / "a", "--open")
    assert out.endswith(f"no browser could be opened; the page is {tmp_path}/a/report.html\n")


@pytest.mark.slow
def test_a_quiet_search_that_tells_json(
    told: Run, teacher_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    flags = {"teacher": teacher_folder, "task": "mrpc", "data_dir": data_folder, **QUICK}
    given = flags_of(flags)
    run = tmp_path / "run"
    out, talk = told("search", *given, "--trials", 3, "--out", run, "--json")
    report = json.loads(out)
    assert report["student"]["scores"] and report["latency"][0]["repeats"]
    assert report["teacher"]["macs"] > report["student"]["macs"]
    assert "trial 0 " in talk and max(map(len, talk.splitlines())) <= 80 + len(str(run))
    curves = [json.loads(line) for line in (run / "curves.jsonl").read_text().splitlines()]
    assert {"trial 0", "trial 1", "trial 2", "student"} <= {curve["name"] for curve in curves}
    assert all(curve["points"] for curve in curves)
    stages = {curve["stage"] for curve in curves}
    assert {"mini-KD", "relations", "task", "labels-alone"} == stages - {"fine-tuning"}
    again = told("resume", run, "--quiet")
    assert "size " in again[0] and "run folder" not in again[0]


def test_manners(capsys: pytest.CaptureFixture[str]) -> None:
    with manner(quiet=True), progress("job", 2) as advance:
        say("on the way")
        advance("note")
        conclude(1, ["the end"])
    assert capsys.readouterr() == ("the end\n", "")
    with manner(as_json=True):
        say("on the way")
        print("somebody else's")
        conclude({"a": 1}, ["the end"])
    out, talk = capsys.readouterr()
    assert json.loads(out) == {"a": 1} and talk == "on the way\nsomebody else's\n"
    say("as before")
    assert capsys.readouterr().out == "as before\n"


NESTED = """
import time
from kdnas.runtime.console import following, progress, say, step
from kdnas.runtime.plan import Plan, Step
plan = Plan([Step("search", "search", {"search": 5.0}), Step("report", "report", {"report": 900})])
with following(plan), step("search"), progress("search", 20, 4, unit="trial") as whole:
    for i in range(5, 8):
        with progress(f"trial {i}", 3) as part:
            for _ in range(3):
                part("loss 0.1234")
                time.sleep(0.12)
        say(f"trial {i} is done")
        whole("best reward 0.8765", i)
"""


def test_a_terminal_shows_trial_best_and_time_left() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", NESTED],
        stdout=theirs,
        env={**os.environ, "COLUMNS": "80", "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        shown += part
    assert process.wait() == 0
    text = shown.decode()
    assert "trial 6 is done" in text and "best reward 0.8765" in text
    assert " 6/20" in text and "0:0" in text and "loss 0.1234" in text
    assert "step 1 of 2 " in text and "about 15 min left in all" in text and "done in " in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("kdnas se", "search"),
        ("kdnas search --sampler l", "lstm"),
        ("kdnas report --plotly-js c", "cdn"),
        ("kdnas export --format i", "int8"),
        ("kdnas search --mini-ep", "--mini-epochs"),
    ],
)
def test_a_shell_completes_commands_options_and_values(words: str, offered: str) -> None:
    environment = {
        **os.environ,
        "_KDNAS_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    code = "import sys; sys.argv = ['kdnas']; from kdnas.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert offered in done.stdout.split()
