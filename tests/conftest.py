"""Small real things that many tests need: teachers with tokenizers, data folders, commands."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import thread_time
from typing import Any

import optuna
import pytest
import torch
from support import processes
from support.processes import Child
from support.tiny import (  # noqa: F401
    ADJECTIVES,
    NOUNS,
    SHAPE,
    save_mrpc,
    save_teacher,
    sentence,
    small_config,
    small_tokenizer,
)

from kdnas.cli.app import run
from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.measure import InTorch, LatencySettings, Timed, latency
from kdnas.measure.latency import Clock
from kdnas.runs.run_folder import Run
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.runtime.interrupt import listening
from kdnas.tasks import embedded_teacher

pytest_plugins = ["servers", "glue_layout"]
processes.PRELOADED.append("conftest")
torch.set_num_threads(1)
optuna.logging.set_verbosity(optuna.logging.ERROR)
# Where the tests run in the background, the shell has them and their children ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def make_teacher(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a folder with a small teacher of a family and its tokenizer."""

    def make(model_type: str = "bert", **changes: Any) -> Path:
        return save_teacher(tmp_path_factory.mktemp(model_type), model_type, **changes)

    return make


@pytest.fixture(scope="session")
def teacher_folder(make_teacher: Callable[..., Path]) -> Path:
    """A small BERT teacher."""
    return make_teacher()


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MRPC in the official layout: 240 training and 40 validation pairs that can be learnt."""
    return save_mrpc(tmp_path_factory.mktemp("glue"))


QUICK = {
    "teacher_epochs": 0.5,
    "mini_epochs": 0.5,
    "epochs": 0.5,
    "task_epochs": 0.5,
    "batch_size": 16,
    "latency_length": 16,
    "latency_repeats": 5,
    "threads": 1,
    "device": "cpu",
    "precision": "fp32",
    "random_control": "off",
    "finalists": 1,
    "screen": 0,
    "speedup": "none",
    "force": True,
}


def flags_of(settings: dict[str, Any]) -> list[str]:
    """Settings as a person types them."""
    named = {f"--{name.replace('_', '-')}": value for name, value in settings.items()}
    pairs = ([flag] if value is True else [flag, str(value)] for flag, value in named.items())
    return [word for pair in pairs for word in pair]


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    """The CPU in full precision."""
    return start_runtime(device="cpu", precision="fp32")


@pytest.fixture
def quick_flags(teacher_folder: Path, data_folder: Path) -> list[str]:
    """Flags of a search that takes seconds."""
    flags = {"teacher": teacher_folder, "task": "mrpc", "data_dir": data_folder, **QUICK}
    return flags_of(flags)


@pytest.fixture
def make_run(teacher_folder: Path, data_folder: Path, tmp_path: Path) -> Callable[..., Run]:
    """Makes a run that nobody has begun."""

    def make(**changes: Any) -> Run:
        places = {"teacher": str(teacher_folder), "data_dir": data_folder, "out": tmp_path / "run"}
        return Run.create(Settings(**{**places, "task": "mrpc", **QUICK, **changes}))

    return make


@pytest.fixture(scope="session")
def finished_run(
    teacher_folder: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished search of two candidates, with random search beside it; copy it to change it."""
    from kdnas import search

    out = tmp_path_factory.mktemp("finished") / "run"
    options = {**QUICK, "data_dir": data_folder, "out": out, "trials": 2}
    return search(teacher_folder, "mrpc", **{**options, "random_control": "search"}).folder


@pytest.fixture
def thread_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times passes by this thread's clock, which stands while others have its processor.

    For tests that hang on times: with one thread the figures are those of an idle machine.
    """
    timed = latency.time_forward

    def by_thread(model: Timed, settings: LatencySettings, clock: Clock = thread_time) -> float:
        del clock
        return timed(model, settings, thread_time)

    monkeypatch.setattr(latency, "time_forward", by_thread)


@pytest.fixture
def times_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass takes as long as it has weights to multiply by, whatever else the machine does.

    For tests of what follows from times: tiny models under load take any time.
    """

    def by_size(model: Timed, settings: LatencySettings, clock: Clock = thread_time) -> float:
        del clock
        assert isinstance(model, InTorch)
        named = model._model.named_parameters()
        weights = sum(each.numel() for name, each in named if "embeddings" not in name)
        return 1e-8 * weights * settings.batch * settings.length

    monkeypatch.setattr(latency, "time_forward", by_size)


@pytest.fixture
def hearing_ctrl_c() -> Iterator[None]:
    """Ctrl-C is taken care of as while a command runs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with listening():
        yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores and locks go to a folder of the test session."""
    monkeypatch.setenv("KDNAS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("KDNAS_LOCKS", str(tmp_path_factory.getbasetemp() / "locks"))
    monkeypatch.delenv("KDNAS_DATA_DIR", raising=False)


def kdnas(*arguments: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own, forked from one that has imported everything."""
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder) / name for name in ("stdout", "stderr")]
        child = Child(command_apart, *map(str, (*streams, *arguments)))
        code = child.wait(timeout)
        return subprocess.CompletedProcess(arguments, code, *(s.read_text() for s in streams))


def command_apart(stdout: str, stderr: str, *arguments: str) -> None:
    """The command, its two streams in files."""
    for stream, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    processes.command(*arguments)


class Said:
    """Runs a command in this process; keeps all that it printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capfd = monkeypatch, capfd
        self.all = ""

    def __call__(self, *arguments: object) -> tuple[int, str]:
        self.monkeypatch.setattr("sys.argv", ["kdnas", *map(str, arguments)])
        code = run()
        out, error = self.capfd.readouterr()
        self.all += out + error
        return code, error


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Said:
    return Said(monkeypatch, capfd)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the real MiniLM; tests that need it are skipped without the package."""
    try:
        return embedded_teacher()
    except KdnasError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real GLUE data, from KDNAS_TEST_DATA or beside the checkout; else the test is skipped."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("KDNAS_TEST_DATA", beside)) / "glue"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder} (set KDNAS_TEST_DATA to the folder of glue/)")
    return folder


LONG = ("workflow", "study", "report")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, so that processes which share the tests end at about the same time."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)
