"""Options that change the way through a search; each goes the whole way."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import QUICK, flags_of, kdnas

TINY_SPACE = """
trials: 10
space:
  num_hidden_layers: [1]
  num_attention_heads: [2]
  hidden_size: [16, 32]
  intermediate_size: [64]
  hidden_act: [gelu]
"""


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("albert", "deberta-v2", "distilbert", "modernbert", "mpnet")
    ],
)
def test_families_go_the_whole_way(
    family: str, make_teacher: Callable[..., Path], data_folder: Path, tmp_path: Path
) -> None:
    flags = {"teacher": make_teacher(family), "task": "mrpc", "data_dir": data_folder, **QUICK}
    given = flags_of(flags)
    done = kdnas("search", *given, "--trials", 1, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "student" / "model.safetensors").exists()


@pytest.mark.slow
def test_pareto_with_corpus_and_mask(quick_flags: list[str], tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    words = ["good", "bad", "dull", "bright"]
    lines = [
        f"the {a} cat sees the {b} dog number {i}" for i in range(8) for a in words for b in words
    ]
    corpus.write_text("\n".join(lines))
    given = ["--objective", "pareto", "--cost", "macs", "--sampler", "nsga2", "--trials", "3"]
    given += ["--corpus", str(corpus), "--mask-probability", "0.15", "--shared-projection"]
    done = kdnas("search", *quick_flags, *given, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["search"]["objective"] == "pareto"


RECIPE = """
transfer_rows: 300
stages:
  - {name: general, data: corpus, losses: {hidden: 1, relations: 1}, epochs: 0.5, lr: 1.0e-3}
  - {name: inter, data: transfer, losses: {hidden: 1, embeddings: 0.1}, epochs: 0.5, lr: 1.0e-3}
  - name: prediction
    data: transfer
    losses: {task: 1, logits: 1, hidden: [1, 0]}
    epochs: 0.5
    lr: 5.0e-4
  - {name: fine-tuning, data: task, losses: {task: 1}, epochs: 0.5, lr: 5.0e-5}
"""


@pytest.mark.slow
def test_a_recipe_goes_the_whole_way_beside_another_file(
    teacher_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.txt"
    words = ["good", "bad", "dull", "bright"]
    corpus.write_text("\n".join(f"the {a} cat sees the {b} dog" for a in words for b in words))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "study.yaml").write_text("trials: 1\ntask: mrpc\n")
    flags = {k: v for k, v in QUICK.items() if k not in ("epochs", "task_epochs")}
    flags = {"teacher": teacher_folder, "data_dir": data_folder, "corpus": corpus, **flags}
    given = flags_of(flags)
    run = tmp_path / "run"
    files = ["--config", tmp_path / "recipe.yaml", "--config", tmp_path / "study.yaml"]
    done = kdnas("search", *given, *files, "--out", run)
    assert done.returncode == 0, done.stderr
    assert (run / "student" / "model.safetensors").exists()
    rows = gzip.decompress((run / "transfer.jsonl.gz").read_bytes()).decode().splitlines()
    assert len(rows) == 300 and len(json.loads(rows[0])["logits"]) == 2
    again = kdnas("search", *given, *files, "--out", run)
    assert again.returncode == 0 and "distilling" not in again.stdout
    mixed = kdnas("search", *given, *files, "--task-epochs", 4, "--out", tmp_path / "other")
    assert mixed.returncode == 2
    assert "invalid --task-epochs 4.0: the recipe has stages" in mixed.stderr


@pytest.mark.slow
def test_a_spent_space_ends_the_search_early(quick_flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    given = [*quick_flags, "--config", tmp_path / "tiny.yaml", "--out", tmp_path / "run"]
    done = kdnas("search", *given)
    assert done.returncode == 0, done.stderr
    assert "all 2 candidates of the space were tried" in done.stdout
    assert len(pd.read_csv(tmp_path / "run" / "trials.csv")) == 2


def test_a_speedup_out_of_reach_is_refused(quick_flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_SPACE)
    given = [*quick_flags, "--config", tmp_path / "tiny.yaml", "--speedup", 500]
    done = kdnas("search", *given, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "--speedup 500 is out of reach: the smallest student" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_own_data_need_a_yaml_entry_and_no_code(teacher_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "reviews"
    folder.mkdir(parents=True)
    rows = [
        {"body": f"a {w} film {i}", "stars": len(w)} for i in range(60) for w in ("bad", "good")
    ]
    for split in ("train", "validation"):
        text = "\n".join(json.dumps(row) for row in rows)
        (folder / f"{split}.jsonl").write_text(text)
    (tmp_path / "mine.yaml").write_text(
        "task: reviews\ntasks:\n  reviews:\n    text: [body]\n    label: stars\n"
        "    regression: true\n    metrics: [pearson]\n"
    )
    flags = {"teacher": teacher_folder, "data_dir": tmp_path / "data", **QUICK, "trials": 1}
    given = flags_of(flags)
    run = tmp_path / "run"
    done = kdnas("search", *given, "--config", tmp_path / "mine.yaml", "--out", run)
    assert done.returncode == 0, done.stderr
    report = json.loads((run / "report.json").read_text())
    assert set(report["student"]["scores"]) == {"pearson", "mae"}
    shown = kdnas(
        *("evaluate", run / "student", "--config", tmp_path / "mine.yaml"),
        *("--data-dir", tmp_path / "data", "--json"),
    )
    assert set(json.loads(shown.stdout)["tasks"]["reviews"]["scores"]) == {"pearson", "mae"}
