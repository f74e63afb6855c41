"""Nothing that comes from outside is run, and no password is shown or kept where others read."""

from __future__ import annotations

import ast
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._base import BaseJournalSnapshot
from servers import PostgreSQL, free_port

import kdnas
from kdnas.cli import run as run_command
from kdnas.config.choices import Sampler
from kdnas.errors import KdnasError
from kdnas.search.join import join
from kdnas.search.password import VARIABLE, bare, hidden, remember, shown, with_password
from kdnas.search.storage import storage_url
from kdnas.search.study import read_study
from kdnas.tasks.hub import fetch

SOURCES = sorted(Path(kdnas.__file__).parent.rglob("*.py"))


class Said:
    """Runs a command in this process; keeps all that it printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capfd = monkeypatch, capfd
        self.all = ""

    def __call__(self, *arguments: object) -> tuple[int, str]:
        self.monkeypatch.setattr("sys.argv", ["kdnas", *map(str, arguments)])
        code = run_command()
        out, error = self.capfd.readouterr()
        self.all += out + error
        return code, error


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Said:
    return Said(monkeypatch, capfd)


class Bomb:
    """What runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def changed(folder: Path, file: str, **values: Any) -> None:
    known = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**known, **values}))


def test_a_teacher_that_is_a_pickle_is_refused_and_not_run(
    teacher_folder: Path, quick_flags: list[str], tmp_path: Path, command: Said
) -> None:
    mark, teacher = tmp_path / "ran", tmp_path / "teacher"
    shutil.copytree(teacher_folder, teacher)
    (teacher / "model.safetensors").unlink()
    torch.save({"embeddings.word_embeddings.weight": Bomb(mark)}, teacher / "pytorch_model.bin")
    given = ["--teacher", teacher, "--out", tmp_path / "run"]
    code, error = command("search", *quick_flags, *given)
    assert code == 2 and "safetensors would be right" in error and error.count("\n") == 1
    assert not mark.exists()


def test_a_teacher_of_plain_weights_in_a_bin_is_read(
    teacher_folder: Path, quick_flags: list[str], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    from kdnas.tasks import load_spec
    from kdnas.teacher.load import load_teacher

    teacher = tmp_path / "teacher"
    shutil.copytree(teacher_folder, teacher)
    weights = load_file(teacher / "model.safetensors")
    (teacher / "model.safetensors").unlink()
    torch.save(weights, teacher / "pytorch_model.bin")
    loaded = load_teacher(str(teacher), load_spec("sst2")).model.get_input_embeddings().weight
    assert torch.equal(loaded, weights["embeddings.word_embeddings.weight"])


@pytest.mark.parametrize("kind", ["bert", "of_its_own"])
@pytest.mark.parametrize("part", ["config.json", "tokenizer_config.json"])
def test_a_teacher_with_code_is_refused_and_the_code_not_run(
    teacher_folder: Path, tmp_path: Path, command: Said, kind: str, part: str
) -> None:
    mark, teacher = tmp_path / "ran", tmp_path / "teacher"
    shutil.copytree(teacher_folder, teacher)
    (teacher / "own.py").write_text(f"open({str(mark)!r}, 'w')")
    changed(teacher, part, auto_map={"AutoConfig": "own.C", "AutoTokenizer": ["own.T", None]})
    changed(teacher, "config.json", model_type=kind)
    code, error = command("evaluate", teacher, "--task", "mrpc")
    assert code == 2 and error.count("\n") == 1 and not mark.exists()
    if kind == "bert" or part == "config.json":
        assert "code of its own (own.C), which kdnas never runs" in error
    assert "trust_remote_code" not in error


def test_a_data_set_with_a_script_is_refused_and_the_script_not_run(tmp_path: Path) -> None:
    mark, folder = tmp_path / "ran", tmp_path / "rows"
    folder.mkdir()
    (folder / "rows.py").write_text(f"open({str(mark)!r}, 'w')")
    with pytest.raises(KdnasError, match="scripts are no longer supported"):
        fetch(str(folder), None, "give the data with --data-dir")
    assert not mark.exists()


def test_a_checkpoint_that_is_a_pickle_starts_over_and_is_not_run(tmp_path: Path) -> None:
    from kdnas.distill.checkpoint import Checkpoint

    mark, file = tmp_path / "ran", tmp_path / "state.pt"
    torch.save({"part": Bomb(mark)}, file)
    assert not Checkpoint(file, part=torch.nn.Linear(1, 1)).load()
    assert not mark.exists()


def test_a_store_that_is_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    import pickle
    import zlib

    from kdnas.teacher.store import SignalStore

    mark = tmp_path / "ran"
    (tmp_path / "offsets.npy").write_bytes(pickle.dumps(Bomb(mark)))
    checksum = zlib.crc32((tmp_path / "offsets.npy").read_bytes())
    manifest = {"states": [], "hidden_size": 1, "files": {"offsets.npy": checksum}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="pickled"):
        SignalStore.open(tmp_path)
    assert not mark.exists()


def calls(tree: ast.AST) -> list[tuple[str, str]]:
    """Each call of a module: what is called, and all of it."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [(ast.unparse(node.func), ast.unparse(node)) for node in found]


def test_the_package_neither_unpickles_nor_writes_in_place() -> None:
    for path in SOURCES:
        for name, call in calls(ast.parse(path.read_text())):
            where = f"{path.name}: {call}"
            if name == "torch.load":
                assert "weights_only=True" in call, where
            # Words between processes of one command, never a file.
            assert "pickle.load" not in name or path.name == "team.py", where
            assert "joblib" not in name and "read_pickle" not in name, where
            assert "allow_pickle=True" not in call and "trust_remote_code=True" not in call, where
            in_place = name.endswith(".write_text") or name.endswith(".write_bytes")
            assert not in_place or name == "partial.write_text", where
            assert ", 'w'" not in call.replace("(partial, 'wt'", "") or "memmap" in name, where
            assert ".open('w" not in call and "(mode='w" not in call, where


def test_no_sampler_or_storage_of_ours_unpickles() -> None:
    # CMA-ES keeps a pickled optimiser in the study, journals on Redis keep pickled snapshots.
    assert not any("cma" in name for name in get_args(Sampler))
    assert not issubclass(JournalFileBackend, BaseJournalSnapshot)


@pytest.mark.parametrize(
    ("url", "seen", "kept"),
    [
        ("postgresql://me:a%40b@h:1/d", "postgresql://me:***@h:1/d", "postgresql://me@h:1/d"),
        ("mysql://me:x@h/d?a=b", "mysql://me:***@h/d?a=b", "mysql://me@h/d?a=b"),
        (
            "postgresql://h/d?user=me&password=x&sslmode=require",
            "postgresql://h/d?user=me&password=***&sslmode=require",
            "postgresql://h/d?user=me&sslmode=require",
        ),
        ("postgresql://h/d?password=x", "postgresql://h/d?password=***", "postgresql://h/d"),
        ("postgresql://me@h:5432/d", "postgresql://me@h:5432/d", "postgresql://me@h:5432/d"),
        ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
    ],
)
def test_urls_are_shown_and_kept_without_passwords(url: str, seen: str, kept: str) -> None:
    assert shown(url) == seen and bare(url) == kept


def test_passwords_are_hidden_in_every_spelling() -> None:
    remember("postgresql://me:open%40sesame%2F@h/d?sslpassword=hush+hush")
    said = "open%40sesame%2F, open@sesame/, hush+hush, hush hush"
    assert hidden(said) == "***, ***, ***, ***"


def test_the_environment_gives_the_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, "a@b")
    assert with_password("mysql://me@h/d", tmp_path) == "mysql://me:a%40b@h/d"
    assert with_password("mysql://h/d", tmp_path) == "mysql://h/d"
    assert with_password("mysql://me:x@h/d", tmp_path) == "mysql://me:x@h/d"


def test_a_password_stays_in_one_file_of_its_owner(
    postgresql: PostgreSQL,
    quick_flags: list[str],
    tmp_path: Path,
    command: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, url = tmp_path / "run", postgresql.database()
    few = ["--trials", "1", "--mini-steps", "2", "--epochs", "0"]
    code, error = command("search", *quick_flags, *few, "--storage", url, "--out", run)
    assert code == 0, error
    config = yaml.safe_load((run / "config.yaml").read_text())
    place = url.partition("@")[2]
    assert config["storage"] == f"postgresql://kdnas@{place}"
    assert stat.S_IMODE((run / ".storage").stat().st_mode) == 0o600
    assert holding(b"secret", run) == [".storage"]
    assert command("resume", run, "--trials", 2)[0] == 0
    assert command("report", run)[0] == 0
    study = read_study(storage_url(config["storage"], run), "kdnas", run)
    assert len(study.trials) == 2
    attributes = [study.user_attrs, study._storage.get_study_system_attrs(study._study_id)]
    for trial in study.trials:
        attributes += [trial.user_attrs, trial.system_attrs]
    assert "secret" not in json.dumps(attributes)

    # Its owner may prefer to give it again each time.
    (run / ".storage").unlink()
    code, error = command("report", run)
    assert code == 2 and "password" in error
    monkeypatch.setenv(VARIABLE, "secret@1/%3A")
    assert command("report", run)[0] == 0
    joined = join({"storage": config["storage"], "study": "kdnas", "out": tmp_path / "joined"})
    assert joined.settings.storage == config["storage"]
    assert holding(b"secret", tmp_path) == [] and "secret" not in command.all


def test_no_error_line_shows_a_password(
    postgresql: PostgreSQL, quick_flags: list[str], tmp_path: Path, command: Said
) -> None:
    url = postgresql.database()
    encoded = url.partition("://kdnas:")[2].partition("@")[0]
    wrong = {
        "authentication failed": url.replace(encoded, "secretwrong%40"),
        "refused": url.replace(str(postgresql.port), str(free_port())),
        "does not exist": f"{url}-elsewhere",
        "%40": url.replace(encoded, "secret@1"),
        "no-such-host": url.replace("127.0.0.1", "no-such-host.invalid"),
    }
    for message, storage in wrong.items():
        run = tmp_path / str(len(command.all))
        code, error = command("search", *quick_flags, "--storage", storage, "--out", run)
        assert code == 2 and message in error and error.count("\n") == 1, error
        code, error = command("worker", "--storage", storage, "--study", "x", "--out", run)
        assert code == 2 and message in error, error
        assert set(holding(b"secret", tmp_path)) <= {f"{run.name}/.storage"}
        shutil.rmtree(run, ignore_errors=True)
    assert "secret" not in command.all


def test_a_run_that_kept_its_password_elsewhere_is_put_right(
    quick_flags: list[str], tmp_path: Path
) -> None:
    from kdnas.run import Run

    (tmp_path / "config.yaml").write_text("storage: mysql://me:secret@h/d\n")
    run = Run.open(tmp_path)
    assert run.settings.storage == "mysql://me@h/d"
    assert storage_url(run.settings.storage, tmp_path) == "mysql://me:secret@h/d"
    assert holding(b"secret", tmp_path) == [".storage"]


def holding(word: bytes, folder: Path) -> list[str]:
    """The files below a folder that hold a word."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [str(path.relative_to(folder)) for path in files if word in path.read_bytes()]
