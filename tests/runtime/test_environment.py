"""The process that a command runs in: closed streams, encodings, odd variables, signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kdnas.errors import KdnasError
from kdnas.runtime.console import conclude, manner, say
from kdnas.runtime.environment import BRIEF, WAITING, check_environment, wait_briefly

# What a child needs; Python itself cannot begin in a folder that is gone with a relative one.
PATH = os.pathsep.join(path for path in sys.path if Path(path).is_absolute())


def shell(
    command: str, folder: Path, env: dict[str, str | None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a shell's line in which `kdnas` is this interpreter's."""
    changed = {**os.environ, "PYTHONPATH": PATH, **(env or {})}
    clean = {name: value for name, value in changed.items() if value is not None}
    line = f'kdnas() {{ "{sys.executable}" -P -m kdnas "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-c", line],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=clean,
        timeout=60,
    )


@pytest.mark.parametrize(
    "command",
    ["kdnas --help >&-", "kdnas <&- --help", "kdnas resume absent 2>&-", "kdnas --help | head -1"],
)
def test_closed_streams(command: str, tmp_path: Path) -> None:
    done = shell(f"{command}; echo code ${{PIPESTATUS[0]}} >&2", tmp_path)
    assert done.stderr == f"code {2 if 'resume' in command else 0}\n"
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "ascii"},
        pytest.param(
            {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            marks=pytest.mark.slow,
        ),
        pytest.param({"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "1"}, marks=pytest.mark.slow),
        pytest.param({"COLUMNS": "x", "LINES": "-1"}, marks=pytest.mark.slow),
        {"HOME": None, "TMPDIR": "/absent"},
        pytest.param({"PYTHONWARNINGS": "error"}, marks=pytest.mark.slow),
        {"CUDA_VISIBLE_DEVICES": "nonsense"},
    ],
    ids=str,
)
def test_unusual_environments(env: dict[str, str | None], tmp_path: Path) -> None:
    done = shell("kdnas resume 'a\x1b[2J\udce9é'; kdnas --version", tmp_path, env)
    assert done.stdout.startswith("kdnas "), done.stderr
    assert done.stderr.count("\n") == 1
    assert r"kdnas: the run folder a\x1b[2J\udce9" in done.stderr and "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"OMP_NUM_THREADS": "abc"}, "invalid OMP_NUM_THREADS 'abc': expected a number of threads"),
        ({"OMP_NUM_THREADS": "0"}, "invalid OMP_NUM_THREADS '0'"),
        ({"OMP_NUM_THREADS": "99999999"}, "invalid OMP_NUM_THREADS '99999999'"),
        ({"MKL_NUM_THREADS": "\x1b"}, r"invalid MKL_NUM_THREADS '\\x1b'"),
    ],
)
def test_variables_with_nonsense(
    env: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(KdnasError, match=told):
        check_environment()
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    check_environment()


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    done = shell("mkdir x && cd x && rmdir ../x && kdnas search", tmp_path)
    assert done.returncode == 2
    assert done.stderr == "kdnas: the working folder no longer exists; change to another one\n"


def test_threads_wait_briefly_unless_the_user_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.environ", changed := dict(os.environ))
    wait_briefly()
    assert changed.items() >= BRIEF.items()
    for name in BRIEF:
        del changed[name]
    changed["OMP_WAIT_POLICY"] = "ACTIVE"
    wait_briefly()
    assert not changed.keys() & BRIEF.keys()


def test_lines_are_shown_without_control_characters_and_passwords(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say("run folder: a\x1b]0;b\x07 of mysql://me:sesame@h/d")
    conclude(None, ["wrote c\x1b[31m"])
    with manner(as_json=True):
        conclude({"a": "\x1b"}, [])
    out = capsys.readouterr().out
    assert out.startswith("run folder: a\\x1b]0;b\\x07 of mysql://me:***@h/d\nwrote c\\x1b[31m\n")
    assert "\x1b" not in out and json.loads(out[out.index("{") :]) == {"a": "\x1b"}


WORK = """
import sys, time
from kdnas.runtime.console import conclude, say
from kdnas.runtime.environment import prepare_process
prepare_process()
for i in range(3):
    say(f"step {i} ±")
    sys.stdout.flush()
    time.sleep(0.1)
conclude(None, ["the end"])
open("done", "w").close()
"""


def test_work_goes_on_when_its_reader_has_gone(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": PATH}
    with subprocess.Popen(
        [sys.executable, "-c", WORK], stdout=subprocess.PIPE, cwd=tmp_path, env=env
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "step 0 ±\n".encode()
        process.stdout.close()
        assert process.wait(30) == 0
    assert (tmp_path / "done").exists()


WAIT = """
import signal, sys, time
from kdnas.cli import app
from kdnas.cli.options import interruptible
from kdnas.runtime.interrupt import check
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores, and so its children
@app.app.command()
def wait():
    def work():
        print("waits", flush=True)
        for _ in range(600):
            time.sleep(0.05)
            check()
    interruptible("wait", work)
sys.argv = ["kdnas", "wait"]
app.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ends_with_a_word_and_the_code_of_the_signal(number: signal.Signals) -> None:
    env = {**os.environ, "PYTHONPATH": PATH}
    with subprocess.Popen(
        [sys.executable, "-c", WAIT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == b"waits\n"
        start = time.perf_counter()
        process.send_signal(number)
        assert process.wait(30) == 128 + number and time.perf_counter() - start < 5
        assert process.stderr.read() == b"kdnas: interrupted; continue with: kdnas wait\n"


RANKS = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"WORLD_SIZE": "abc"}, "invalid WORLD_SIZE 'abc': expected a whole number"),
        ({"LOCAL_RANK": "-1"}, "invalid LOCAL_RANK '-1': expected a whole number"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "WORLD_SIZE is 2, but there is no LOCAL_RANK"),
        (RANKS, "WORLD_SIZE is 2, but there is no MASTER_ADDR, MASTER_PORT; start several"),
        ({**RANKS, "MASTER_ADDR": "here"}, "WORLD_SIZE is 2, but there is no MASTER_PORT;"),
        ({**RANKS, "MASTER_PORT": "x"}, "invalid MASTER_PORT 'x': expected a whole number"),
    ],
)
def test_half_of_a_launch_is_refused(
    given: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(KdnasError, match=said):
        check_environment()


def test_a_port_is_of_no_interest_to_a_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MASTER_PORT": "tcp://10.0.0.1:80", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    check_environment()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"LOCAL_RANK": "0", "WORLD_SIZE": ""}, "kdnas 0"),
        ({"LOCAL_RANK": "0", "WORLD_SIZE": "x"}, "kdnas: invalid WORLD_SIZE 'x': expected a"),
        ({"LOCAL_RANK": "0", "WORLD_SIZE": "2"}, "kdnas: WORLD_SIZE is 2, but there is no RANK,"),
    ],
)
def test_a_command_tells_of_half_a_launch_in_one_line(
    given: dict[str, str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from kdnas.cli.app import main

    monkeypatch.setattr("sys.argv", ["kdnas", "--version"])
    monkeypatch.setattr("kdnas.cli.app.prepare_process", lambda: None)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == (2 if said.startswith("kdnas:") else 0)
    [line] = (told.out + told.err).splitlines()
    assert line.startswith(said)
