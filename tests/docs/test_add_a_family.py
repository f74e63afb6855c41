"""docs/add-a-family.md and docs/encoders.md say what is so."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SHAPE, small_tokenizer
from transformers import AutoConfig, AutoModelForSequenceClassification

from kdnas.distillation.modules import can_pack
from kdnas.runtime.plugins import load_plugins
from kdnas.space import FAMILIES, SearchSpace, families
from kdnas.space.families import UNSUPPORTED, Family
from kdnas.students import build_student
from kdnas.students.state import StudentState
from kdnas.tasks import load_spec
from kdnas.teachers.load import load_teacher

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "add-a-family.md").read_text()


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example, installed."""
    code = re.findall(r"```python\n(.*?)```", PAGE, re.S)[1]
    entry: Any = re.search(r"```toml\n(.*?)```", PAGE, re.S)
    info = tmp_path / "kdnas_house_bert-1.0.dist-info"
    info.mkdir()
    (tmp_path / "kdnas_house_bert.py").write_text(code)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kdnas-house-bert\nVersion: 1.0\n")
    points = entry[1].replace('project.entry-points."kdnas.plugins"', "kdnas.plugins")
    (info / "entry_points.txt").write_text(points.replace('"', ""))
    monkeypatch.syspath_prepend(str(tmp_path))
    load_plugins.cache_clear()
    load_plugins()
    yield
    load_plugins.cache_clear()
    del FAMILIES["house-bert"], sys.modules["kdnas_house_bert"]


def test_an_encoder_of_another_package_is_a_teacher(plugin: None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = AutoConfig.for_model("house-bert", vocab_size=200, **SHAPE)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "teacher")
    small_tokenizer().save_pretrained(tmp_path / "teacher")
    teacher = load_teacher(str(tmp_path / "teacher"), load_spec("sst2"))
    space = SearchSpace.from_teacher(teacher.model.config, "house-bert")
    tokens = torch.arange(5, 23).view(2, 9)
    copy = build_student(teacher.model, space.teacher)
    torch.testing.assert_close(copy(tokens).logits, teacher.model(tokens).logits)
    student = StudentState(build_student(teacher.model, space.smallest))
    said = student.model(tokens).logits
    assert said.shape == (2, 2)
    (tmp_path / "state").mkdir()
    student.save(tmp_path / "state")
    again = StudentState.load(tmp_path / "state").model
    assert type(again) is type(teacher.model)
    assert torch.equal(again(tokens).logits, said)


def test_the_page_shows_the_file_and_every_attribute() -> None:
    shown = re.findall(r"```python\n(.*?)```", PAGE, re.S)[0]
    assert shown == (Path(families.__file__).parent / "modernbert.py").read_text()
    table = re.findall(r"^\| `(\w+)` \|", PAGE, re.M)
    assert table == [each.name for each in fields(Family)]


def test_the_list_of_encoders_is_complete() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (.*?) \|$", (DOCS / "encoders.md").read_text(), re.M)
    table = dict(rows)
    assert {name: table.get(name) for name in UNSUPPORTED} == UNSUPPORTED
    assert list(table) == [*sorted(FAMILIES), *sorted(UNSUPPORTED)]
    auto = AutoModelForSequenceClassification._model_mapping
    for name in FAMILIES:
        packs = can_pack(auto[type(AutoConfig.for_model(name))])
        assert ("runs padded" in table[name]) == (not packs), name
