"""What `kdnas space` shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from conftest import Said


def test_recipes_vocabularies_and_pruning_count_as_candidates(
    teacher_folder: Path, command: Said
) -> None:
    over = ("--search-over", "shape,recipe,vocabulary,pruning", "--recipes", "default,logits")
    flags = ("space", "--teacher", teacher_folder, *over, "--vocabularies", "teacher,task")
    assert command(*flags) == (0, "")
    told = " ".join(command.all.split())
    assert "recipes default, logits" in told and "vocabularies teacher, task" in told
    command.all = ""
    assert command(*flags, "--json")[0] == 0
    found = json.loads(command.all)
    assert found["recipes"] == ["default", "logits"] and found["vocabularies"] == [
        "teacher",
        "task",
    ]
    each = found["students"] + len(found["prunings"])
    assert found["candidates"] == 4 * each and f"{4 * each:,} candidates in all" in told


def test_without_them_there_is_a_candidate_a_shape(teacher_folder: Path, command: Said) -> None:
    assert command("space", "--teacher", teacher_folder) == (0, "")
    assert "valid students" in command.all and "in all" not in command.all
    small = next(line for line in command.all.splitlines() if line.startswith("smallest"))
    assert re.search(r"  \d+k params  \d+k MACs$", small), "0.00M says nothing"
    code, error = command("space", "--teacher", teacher_folder, "--recipes", "default,nonesuch")
    assert code == 2 and "nonesuch" in error


def test_of_all_recipes_those_count_that_a_search_can_use(
    teacher_folder: Path, command: Said
) -> None:
    flags = ("space", "--teacher", teacher_folder, "--recipes", "all", "--json")
    assert command(*flags)[0] == 0
    found, _ = json.JSONDecoder().raw_decode(command.all[command.all.index("{\n") :])
    assert {"default", "logits", "static", "transfer"} <= set(found["recipes"])
    assert not {"narrow", "wide", "sequence-level"} & set(found["recipes"])
    dense, static = len(found["recipes"]) - 1, len(found["choices"]["hidden_size"])
    assert found["candidates"] == dense * found["students"] + static


def test_students_without_layers_have_their_recipe_alone(
    teacher_folder: Path, command: Said
) -> None:
    flags = ("space", "--teacher", teacher_folder, "--recipes", "default,static", "--json")
    assert command(*flags)[0] == 0
    found = json.loads(command.all)
    assert found["candidates"] == found["students"] + len(found["choices"]["hidden_size"])


def test_widths_of_factorised_embeddings_are_choices(
    make_teacher: Callable[..., Path], tmp_path: Path, command: Said
) -> None:
    config = tmp_path / "narrow.yaml"
    config.write_text("space: {embedding_size: [teacher, 8], hidden_size: [16, 32]}\n")
    flags = ("space", "--teacher", make_teacher("deberta-v2"), "--config", config)
    assert command(*flags) == (0, "")
    assert "embedding_size teacher, 8" in " ".join(command.all.split())
    command.all = ""
    assert command(*flags, "--json")[0] == 0
    found = json.loads(command.all)
    assert found["choices"]["embedding_size"] == [0, 8]
    assert found["smallest"]["architecture"]["embedding_size"] == 8
