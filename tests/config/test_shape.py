"""How the shape of a student is spelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdnas.config import load_settings, validated
from kdnas.config.shape import FIELDS, read_shape
from kdnas.errors import KdnasError
from kdnas.space import Architecture

LAYERS, WIDTH = "num_hidden_layers", "hidden_size"


@pytest.mark.parametrize(
    ("given", "text", "fields"),
    [
        ("6x256", "6x256", {LAYERS: 6, WIDTH: 256}),
        ("6X256-H8-F1024-relu", "6x256-h8-f1024-relu", (6, 256, 8, 1024, "relu")),
        ("6x384 h12 f1536 gelu", "6x384-h12-f1536-gelu", (6, 384, 12, 1536, "gelu")),
        ("gelu_new", None, "expected LAYERSxWIDTH"),
        ("4x8-gelu_new-f16", "4x8-f16-gelu_new", (4, 8, None, 16, "gelu_new")),
        ("half", "half", {LAYERS: "half"}),
        ("halfx64-h2", "halfx64-h2", (LAYERS, 64, 2)),
        ("allx64", "allx64", {WIDTH: 64}),
        (4, "4", {LAYERS: 4}),
        ({LAYERS: 3, WIDTH: 96}, "3x96", {LAYERS: 3, WIDTH: 96}),
        ({WIDTH: 96, "hidden_act": "relu"}, "allx96-relu", {WIDTH: 96, "hidden_act": "relu"}),
        ("0x256", "0x256", {LAYERS: 0, WIDTH: 256}),
        ("6x256-E64", "6x256-e64", {LAYERS: 6, WIDTH: 256, "embedding_size": 64}),
        (
            {WIDTH: 96, "embedding_size": 32, "hidden_act": "elu"},
            "allx96-e32-elu",
            {WIDTH: 96, "embedding_size": 32, "hidden_act": "elu"},
        ),
        ("6x256-e0", None, "embedding size 0 is less than 1; give 1 or more"),
        ("6x256-e64-e32", None, "embedding_size stands twice; give it once"),
        ("6x256-e64+32", None, "expected LAYERSxWIDTH"),
        ({"embeding_size": 3}, None, "unknown field 'embeding_size'; did you mean 'embedding_size"),
        ("6x256 d64 gelu_new", "6x256-gelu_new-d64", (6, 256, None, None, "gelu_new")),
        ("6x256-d0", None, "head size 0 is less than 1; give 1 or more"),
        ("6x256-d64+32", None, "expected LAYERSxWIDTH"),
        ("6x0", None, "invalid --architecture 6x0: hidden size 0 is less than 1; give 1 or more"),
        ("6x256-h0", None, "0 heads are less than 1; give 1 or more"),
        ("6x256-h8-h4", None, "num_attention_heads stands twice; give it once"),
        ("6+2x256", "6+2x256", {LAYERS: 6, WIDTH: 256, "num_decoder_layers": 2}),
        (
            "half+1x64 h8+4 f64+32 relu",
            "half+1x64-h8+4-f64+32-relu",
            (LAYERS, 64, 8, 64, "relu", 1, 4, 32),
        ),
        ("allx64-h8+4", "allx64-h8+4", (None, 64, 8, None, None, None, 4)),
        ("6+allx256", "6+allx256", {LAYERS: 6, WIDTH: 256, "num_decoder_layers": "all"}),
        ("half+all", "half+all", {LAYERS: "half", "num_decoder_layers": "all"}),
        ("all+allx64", "allx64", {WIDTH: 64}),
        ("6+x256", None, "expected LAYERSxWIDTH, such as 6x256"),
        ("6+0x256", None, "6+0x256: 0 decoder layers are less than 1; give 1 or more"),
        (
            {"decoder_attention_heads": 2},
            None,
            "decoder_attention_heads stands alone; give num_attention_heads, too",
        ),
        ("6x256-8", None, "expected LAYERSxWIDTH, such as 6x256 or 6x256-h8-f1024-relu, or half"),
        ({}, None, "expected LAYERSxWIDTH"),
        ({"layers": 3}, None, "unknown field 'layers'; did you mean 'num_hidden_layers'?"),
        ({LAYERS: "3"}, None, "num_hidden_layers 3: give a whole number"),
        ({LAYERS: True}, None, "num_hidden_layers true: give a whole number"),
        ({"hidden_act": 3}, None, "hidden_act 3: give an activation, such as gelu"),
        ([6, 256], None, "expected LAYERSxWIDTH"),
    ],
)
def test_a_shape_has_one_spelling(given: Any, text: str | None, fields: Any) -> None:
    if text is None:
        with pytest.raises(KdnasError, match=fields.replace("+", r"\+").replace("?", r"\?")):
            validated({"architecture": given})
        return
    settings = validated({"architecture": given})
    assert settings.architecture == text and not settings.searches
    found = settings.shape
    assert read_shape(text) == found
    if isinstance(fields, tuple):
        expected = dict(zip(FIELDS, fields, strict=False))
        fields = {k: "half" if v == LAYERS else v for k, v in expected.items() if v is not None}
        fields |= {"own_head_size": 64} if text.endswith("-d64") else {}
    assert found == fields


def test_the_fields_are_those_of_an_architecture() -> None:
    shape = Architecture(6, 12, 384, 1536, "gelu")
    assert set(FIELDS) == set(shape.values)
    assert read_shape(shape.label) == shape.params


def test_a_file_may_hold_a_shape_as_a_mapping_and_a_flag_wins(tmp_path: Path) -> None:
    file = tmp_path / "given.yaml"
    file.write_text("architecture: {num_hidden_layers: 3, hidden_size: 96}\n")
    assert load_settings([file], {}).architecture == "3x96"
    assert load_settings([file], {"architecture": "half"}).architecture == "half"
    file.write_text("architecture: {num_layers: 3}\n")
    with pytest.raises(KdnasError, match=f"{file}: invalid architecture .*'num_layers'"):
        load_settings([file], {})


@pytest.mark.parametrize("other", [{"speedup": 2}, {"max_params": 9}, {"space": {WIDTH: [8]}}])
def test_what_a_search_chooses_by_contradicts_a_shape(other: dict[str, Any]) -> None:
    option = next(iter(other)).replace("_", "-")
    with pytest.raises(KdnasError, match=f"--{option} and --architecture contradict each other"):
        validated({"architecture": "half", **other})
