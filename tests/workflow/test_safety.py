"""Nothing that comes from outside is run: no pickle, no code of a checkpoint or a data set."""

from __future__ import annotations

import ast
import json
import os
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from conftest import Said
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._base import BaseJournalSnapshot

import kdnas
from kdnas.config.choices import Sampler
from kdnas.errors import KdnasError
from kdnas.tasks.formats.hub import fetch
from kdnas.tasks.spec import Hub

SOURCES = [p for p in Path(kdnas.__file__).parent.rglob("*.py") if "testing" not in p.parts]


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
    assert code == 2 and "give a checkpoint in safetensors" in error and error.count("\n") == 1
    assert not mark.exists()


def test_a_teacher_of_plain_weights_in_a_bin_is_read(
    teacher_folder: Path, quick_flags: list[str], tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    from kdnas.tasks import load_spec
    from kdnas.teachers.load import load_teacher

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
    teacher_folder: Path,
    data_folder: Path,
    tmp_path: Path,
    command: Said,
    kind: str,
    part: str,
) -> None:
    mark, teacher = tmp_path / "ran", tmp_path / "teacher"
    shutil.copytree(teacher_folder, teacher)
    (teacher / "own.py").write_text(f"open({str(mark)!r}, 'w')")
    changed(teacher, part, auto_map={"AutoConfig": "own.C", "AutoTokenizer": ["own.T", None]})
    changed(teacher, "config.json", model_type=kind)
    code, error = command("evaluate", teacher, "--task", "mrpc", "--data-dir", data_folder)
    assert code == 2 and error.count("\n") == 1 and not mark.exists()
    if kind == "bert" or part == "config.json":
        assert "code of its own (own.C), which kdnas never runs" in error
    assert "trust_remote_code" not in error


def test_a_data_set_with_a_script_is_refused_and_the_script_not_run(tmp_path: Path) -> None:
    mark, folder = tmp_path / "ran", tmp_path / "rows"
    folder.mkdir()
    (folder / "rows.py").write_text(f"open({str(mark)!r}, 'w')")
    with pytest.raises(KdnasError, match="scripts are no longer supported"):
        fetch(Hub(path=str(folder)), "give the data with --data-dir")
    assert not mark.exists()


def test_a_checkpoint_that_is_a_pickle_starts_over_and_is_not_run(tmp_path: Path) -> None:
    from kdnas.distillation.checkpoint import Checkpoint

    mark, file = tmp_path / "ran", tmp_path / "state.pt"
    torch.save({"part": Bomb(mark)}, file)
    assert not Checkpoint(file, "key", part=torch.nn.Linear(1, 1)).load()
    assert not mark.exists()


def test_a_store_that_is_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    import pickle

    from kdnas.teachers.store import SignalStore

    mark = tmp_path / "ran"
    (tmp_path / "offsets.npy").write_bytes(pickle.dumps(Bomb(mark)))
    manifest = {"key": {"states": [], "hidden_size": 1}, "files": {}}
    (tmp_path / "kdnas.json").write_text(json.dumps(manifest))
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
            assert "pickle.load" not in name or path.name == "distributed.py", where
            assert "joblib" not in name and "read_pickle" not in name, where
            assert "allow_pickle=True" not in call and "trust_remote_code=True" not in call, where
            in_place = name.endswith((".write_text", ".write_bytes"))
            assert not in_place or name.startswith("partial."), where
            free = "memmap" in name or "os.fdopen(" in call  # a stream, not a file of ours
            assert ", 'w'" not in call.replace("(partial, 'wt'", "") or free, where
            beside = "partial.open(" in call or "(partial / " in call
            assert beside or (".open('w" not in call and "(mode='w" not in call), where


def test_no_sampler_or_storage_of_ours_unpickles() -> None:
    # CMA-ES keeps a pickled optimiser in the study, journals on Redis keep pickled snapshots.
    assert not any("cma" in name for name in get_args(Sampler))
    assert not issubclass(JournalFileBackend, BaseJournalSnapshot)
