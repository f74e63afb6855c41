"""Checkpoints whose weights are not those that their config describes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import small_config, small_tokenizer
from safetensors.torch import load_file, save_file
from support.tiny_pairs import VARIANTS, tiny_pair
from support.tiny_writers import WORDS, writers_tokenizer
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
)

from kdnas.errors import KdnasError
from kdnas.space import FAMILIES
from kdnas.tasks import load_spec
from kdnas.teachers.load import Teacher, load_teacher

Weights = dict[str, torch.Tensor]


def loaded(folder: Path) -> Teacher:
    return load_teacher(str(folder), load_spec("sst2"))


def change_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def change_weights(folder: Path, change: Callable[[Weights], Weights]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})


def test_layers_of_another_width_are_refused(make_teacher: Callable[..., Path]) -> None:
    folder = make_teacher()
    change_config(folder, intermediate_size=128)
    said = r"bert.encoder.layer.0.intermediate.dense.bias is 64, not 128, .* and 7 more"
    with pytest.raises(KdnasError, match=said):
        loaded(folder)


def test_stacks_that_share_their_weights_are_to_be_saved_with_both(tmp_path: Path) -> None:
    tiny_pair("encoder-decoder", vocab_size=WORDS).save_pretrained(tmp_path)
    writers_tokenizer().save_pretrained(tmp_path)
    change_weights(
        tmp_path,
        lambda all_: {k: v for k, v in all_.items() if ".bert.encoder.layer.0.att" not in k},
    )
    task = load_spec("multi30k")
    with pytest.raises(KdnasError, match=r"do not fit its config: the checkpoint lacks decoder\."):
        load_teacher(str(tmp_path), task)
    change_config(tmp_path, tie_encoder_decoder=True)
    said = (
        "shares its encoder's weights with its decoder .* lacks decoder.* save it with the weights"
    )
    with pytest.raises(KdnasError, match=said):
        load_teacher(str(tmp_path), task)


def test_layers_that_the_checkpoint_lacks_are_refused(make_teacher: Callable[..., Path]) -> None:
    folder = make_teacher()
    change_config(folder, num_hidden_layers=4)
    with pytest.raises(KdnasError, match=r"lacks bert.encoder.layer.3\..* and 14 more"):
        loaded(folder)


def test_one_missing_tensor_is_named(make_teacher: Callable[..., Path]) -> None:
    folder = make_teacher()
    name = "encoder.layer.1.output.dense.weight"
    change_weights(folder, lambda found: {k: v for k, v in found.items() if k != name})
    with pytest.raises(KdnasError, match=f"lacks bert.{name}; give the config.json"):
        loaded(folder)


def test_weights_under_another_prefix_are_refused(make_teacher: Callable[..., Path]) -> None:
    folder = make_teacher()
    change_weights(folder, lambda found: {f"module.{k}": v for k, v in found.items()})
    with pytest.raises(KdnasError, match="lacks bert.embeddings"):
        loaded(folder)


def test_weights_that_are_not_numbers_are_refused(make_teacher: Callable[..., Path]) -> None:
    folder = make_teacher()
    name = "encoder.layer.1.output.dense.bias"

    def spoil(found: Weights) -> Weights:
        found[name][3] = torch.nan
        return found

    change_weights(folder, spoil)
    with pytest.raises(KdnasError, match=f"bert.{name} holds NaN or infinity"):
        loaded(folder)


def test_a_head_that_the_checkpoint_lacks_is_fresh(tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_config(small_config(num_labels=2))
    model.save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    assert loaded(tmp_path).has_head
    change_weights(tmp_path, lambda found: {k: v for k, v in found.items() if "bert" in k})
    assert not loaded(tmp_path).has_head


def test_buffers_of_old_checkpoints_do_no_harm(make_teacher: Callable[..., Path]) -> None:
    folder = make_teacher()
    positions = {"embeddings.position_ids": torch.arange(70)[None]}
    change_weights(folder, lambda found: found | positions)
    loaded(folder)


def pretrained_kinds() -> list[tuple[str, type[AutoModel]]]:
    """Each family with its heads of pre-training: for masked words, and any other."""
    masked, more = AutoModelForMaskedLM._model_mapping, AutoModelForPreTraining._model_mapping
    configs = {name: type(AutoConfig.for_model(name)) for name in sorted(FAMILIES)}
    others = [n for n, kind in configs.items() if more.get(kind, masked[kind]) is not masked[kind]]
    both = [(name, AutoModelForMaskedLM) for name in configs]
    return both + [(name, AutoModelForPreTraining) for name in others]


@pytest.mark.parametrize(("model_type", "kind"), pretrained_kinds())
def test_any_head_will_do(model_type: str, kind: type[AutoModel], tmp_path: Path) -> None:
    config = small_config(model_type)
    model = kind.from_config(config)
    model.save_pretrained(tmp_path)
    small_tokenizer().save_pretrained(tmp_path)
    teacher = loaded(tmp_path)
    assert not teacher.has_head
    table = teacher.model.get_input_embeddings().weight
    torch.testing.assert_close(table, model.get_input_embeddings().weight)


def save_pair(folder: Path, model_type: str, **changes: Any) -> Path:
    tiny_pair(model_type, vocab_size=WORDS, **changes).save_pretrained(folder)
    writers_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("model_type", "changes"), VARIANTS)
def test_every_encoder_decoder_is_whole(
    model_type: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    """Though its head is tied, or its file lacks what the config says."""
    assert load_teacher(str(save_pair(tmp_path, model_type, **dict(changes))), None).has_head


@pytest.mark.parametrize("model_type", ["pegasus", "marian", "roformer"])
def test_sines_that_the_checkpoint_lacks_are_computed(model_type: str, tmp_path: Path) -> None:
    """As in google/pegasus-xsum."""
    if model_type == "roformer":
        model = AutoModelForSequenceClassification.from_config(small_config(model_type))
        model.save_pretrained(tmp_path)
        small_tokenizer().save_pretrained(tmp_path)
    else:
        save_pair(tmp_path, model_type)
    whole = load_teacher(str(tmp_path), None)
    change_weights(
        tmp_path, lambda all_: {k: v for k, v in all_.items() if "embed_positions" not in k}
    )
    teacher = load_teacher(str(tmp_path), None)
    assert teacher.has_head
    for name, value in whole.model.state_dict().items():
        assert torch.equal(teacher.model.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("model_type", "changes", "said"),
    [
        ("bart", {"encoder_ffn_dim": 48}, "model.encoder.layers.0.fc1.bias is 64, not 48"),
        ("t5", {"num_layers": 6}, "lacks encoder.block.4.layer.0.SelfAttention.k.weight"),
        ("t5", {"d_ff": 48}, "DenseReluDense.wi.weight is 64x32, not 48x32"),
        ("mt5", {"num_decoder_layers": 5}, "lacks decoder.block.3.layer.0.SelfAttention.k.weight"),
        ("encoder-decoder", {"num_hidden_layers": 6}, "lacks decoder.bert.encoder.layer.3."),
        ("encoder-decoder", {"intermediate_size": 48}, "intermediate.dense.bias is 64, not 48"),
    ],
)
def test_an_encoder_decoder_that_does_not_fit_its_config_is_refused(
    model_type: str, changes: dict[str, int], said: str, tmp_path: Path
) -> None:
    folder = save_pair(tmp_path, model_type)
    if model_type == "encoder-decoder":
        decoder = json.loads((folder / "config.json").read_text())["decoder"]
        changes = {"decoder": decoder | changes}  # type: ignore[dict-item]
    change_config(folder, **changes)
    with pytest.raises(KdnasError, match=f"do not fit its config: .*{said}"):
        load_teacher(str(folder), None)
