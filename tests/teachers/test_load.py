from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import small_config, small_tokenizer
from support.ragged import PAD, ragged_data
from support.tiny import save_teacher
from support.tiny_pairs import pair_batch, pair_config, tiny_pair
from support.tiny_writers import writers_tokenizer
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from kdnas.distillation.batches import collate
from kdnas.distillation.forward import forward
from kdnas.distillation.outputs import OutputRequest
from kdnas.errors import KdnasError
from kdnas.evaluation.predict import load_classifier
from kdnas.space import FAMILIES, family_of
from kdnas.students import build_student
from kdnas.students.state import StudentState
from kdnas.tasks import load_spec
from kdnas.teachers.load import (
    check_family,
    check_general_teacher,
    load_config,
    load_parts,
    load_teacher,
    load_tokenizer,
)
from kdnas.teachers.tokenizer import longest_input
from kdnas.teachers.trained_head import has_head, head_of_another_task

TOKENS = torch.arange(5, 14)[None]
LOGITS = OutputRequest(logits=True)


def test_a_base_model_gets_a_fresh_head(teacher_folder: Path) -> None:
    teacher = load_teacher(str(teacher_folder), load_spec("stsb"))
    assert not teacher.has_head
    assert teacher.model(TOKENS).logits.shape == (1, 1)


def save_with_head(folder: Path, labels: list[str]) -> torch.Tensor:
    config = small_config(
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={name: i for i, name in enumerate(labels)},
    )
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    model.save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    logits: torch.Tensor = model(TOKENS).logits.detach()
    return logits


def test_a_head_in_another_label_order_is_put_right(tmp_path: Path) -> None:
    logits = save_with_head(tmp_path, ["CONTRADICTION", "NEUTRAL", "ENTAILMENT"])
    teacher = load_teacher(str(tmp_path), load_spec("mnli"))
    assert teacher.has_head
    torch.testing.assert_close(teacher.model(TOKENS).logits, logits[:, [2, 1, 0]])
    assert teacher.model.config.id2label[0] == "entailment"


def test_the_order_counts_however_labels_are_spelled(tmp_path: Path) -> None:
    logits = save_with_head(tmp_path, ["Equivalent", "Not Equivalent"])
    teacher = load_teacher(str(tmp_path), load_spec("mrpc"))
    torch.testing.assert_close(teacher.model(TOKENS).logits, logits[:, [1, 0]])


def test_labels_that_differ_by_a_sign_are_told_apart(tmp_path: Path) -> None:
    logits = save_with_head(tmp_path, ["0", "1", "-1"])
    spec = load_spec("mine", {"mine": {"text": "text", "labels": ["-1", "0", "1"]}})
    teacher = load_teacher(str(tmp_path), spec)
    torch.testing.assert_close(teacher.model(TOKENS).logits, logits[:, [2, 0, 1]])


def test_a_head_that_answers_several_classes_at_once_is_another(tmp_path: Path) -> None:
    save_with_head(tmp_path, ["a", "b"])
    config = AutoConfig.from_pretrained(tmp_path)
    assert has_head(config, load_spec("sst2"))
    config.problem_type = "multi_label_classification"
    assert not has_head(config, load_spec("sst2"))


@pytest.mark.parametrize("kind", ["token-classification", "question-answering"])
def test_what_a_classifier_said_of_its_labels_says_nothing_of_tags_and_spans(
    kind: str, tmp_path: Path
) -> None:
    labels = {"labels": ["O", "B-a"]} if kind == "token-classification" else {}
    spec = load_spec("mine", {"mine": {"type": kind, **labels}})
    save_with_head(tmp_path / "classifier", ["a", "b"])
    config = json.loads((tmp_path / "classifier/config.json").read_text())
    config["problem_type"] = "single_label_classification"
    (tmp_path / "classifier/config.json").write_text(json.dumps(config))
    teacher = load_teacher(str(tmp_path / "classifier"), spec)
    assert not teacher.has_head
    teacher.model.save_pretrained(tmp_path / "tuned")
    teacher.tokenizer.save_pretrained(tmp_path / "tuned")
    saved = AutoConfig.from_pretrained(tmp_path / "tuned")
    assert saved.problem_type is None and has_head(saved, spec)
    # As plain transformers leaves it.
    saved.problem_type = "single_label_classification"
    assert has_head(saved, spec)
    saved.save_pretrained(tmp_path / "tuned")
    assert load_classifier(tmp_path / "tuned", device="cpu").task_type.name == kind


def test_a_label_map_is_for_as_many_outputs_as_labels(tmp_path: Path) -> None:
    save_with_head(tmp_path, ["a", "b", "c"])
    told = (
        "^invalid --label-map c,a,b: the head of '.*' has 3 outputs .a, b, c., and task 'sst2' is "
        "for one with 2; leave --label-map out, and a new head is trained$"
    )
    with pytest.raises(KdnasError, match=told):
        load_teacher(str(tmp_path), load_spec("sst2"), label_map=["c", "a", "b"])


def test_a_head_of_another_size_is_replaced(tmp_path: Path) -> None:
    save_with_head(tmp_path, ["a", "b", "c"])
    assert not load_teacher(str(tmp_path), load_spec("sst2")).has_head


@pytest.mark.parametrize(
    ("outputs", "task", "found"),
    [
        (("NEGATIVE", "POSITIVE"), "sst2", None),
        (("NEGATIVE", "POSITIVE"), "mrpc", "NEGATIVE, POSITIVE"),
        (("Not Equivalent", "Equivalent"), "mrpc", None),
        (("LABEL_0", "LABEL_1"), "mrpc", None),
        (("negative", "neutral", "positive"), "mnli", "negative, neutral, positive"),
        (("0", "1"), "mrpc", None),
        (("entailment", "not_entailment"), "rte", None),
        (("LABEL_0",), "stsb", None),
    ],
)
def test_a_head_of_another_task_shows_by_its_classes(
    outputs: tuple[str, ...], task: str, found: str | None
) -> None:
    config = small_config(id2label=dict(enumerate(outputs)))
    assert head_of_another_task(config, load_spec(task)) == found


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(KdnasError, match="absent' does not exist"):
        load_config(str(tmp_path / "absent"))


def test_a_hub_that_may_not_be_asked_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(KdnasError) as caught:
        load_config("nobody/none")
    assert str(caught.value) == (
        "cannot load the config of 'nobody/none': it is not in the hub's cache, and HF_HUB_OFFLINE "
        "is set; unset it, or give a folder"
    )


def test_a_folder_without_tokenizer_is_named(teacher_folder: Path, tmp_path: Path) -> None:
    shutil.copy(teacher_folder / "config.json", tmp_path)
    with pytest.raises(KdnasError, match="has no tokenizer"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize(("types", "given"), [(2, True), (1, False), (0, True)])
def test_a_model_with_one_token_type_is_given_none(
    types: int, given: bool, make_teacher: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_teacher(type_vocab_size=types)
    file = folder / "tokenizer_config.json"
    names = ["input_ids", "token_type_ids", "attention_mask"]
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_input_names": names}))
    load_tokenizer(str(folder)).save_pretrained(tmp_path)
    shipped = AutoTokenizer.from_pretrained(tmp_path)("the cat", "the dog")
    assert ("token_type_ids" in shipped) is given


def test_a_decoder_alone_is_refused(tmp_path: Path) -> None:
    AutoConfig.for_model("gpt2").save_pretrained(tmp_path)
    with pytest.raises(KdnasError, match="is a decoder alone; kdnas distils encoders"):
        load_config(str(tmp_path))


@pytest.mark.parametrize("model_type", ["t5", "bart"])
def test_encoder_decoders_are_refused_where_an_encoder_is_wanted(
    model_type: str, tmp_path: Path
) -> None:
    AutoConfig.for_model(model_type).save_pretrained(tmp_path)
    wanted = "is an encoder-decoder, and the task is classification; give an encoder"
    with pytest.raises(KdnasError, match=wanted):
        check_family(str(tmp_path), load_config(str(tmp_path)), load_spec("sst2").task_type)


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_the_longest_input_fits_and_one_more_does_not(
    model_type: str, make_teacher: Callable[..., Path]
) -> None:
    folder = make_teacher(model_type, max_position_embeddings=20, position_biased_input=True)
    model = load_teacher(str(folder), load_spec("sst2")).model
    longest = longest_input(model.config)
    model(torch.full((1, longest), 5))
    if family_of(model_type, model_type).rotary and model_type != "roformer":
        assert longest == 20  # angles have no end; the model was trained on so many
        return
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, longest + 1), 5))


@pytest.mark.parametrize(
    "said", [{"output_attentions": True}, {"output_hidden_states": True}, {"return_dict": False}]
)
@pytest.mark.parametrize("model_type", ["bert", "t5", "encoder-decoder"])
def test_how_a_model_answers_is_for_kdnas_to_say(
    model_type: str, said: dict[str, bool], tmp_path: Path
) -> None:
    place = tmp_path / "teacher"
    if model_type == "bert":
        save_teacher(place)
        batch = collate(ragged_data(), np.arange(9), PAD)
    else:
        tiny_pair(model_type).save_pretrained(place)
        writers_tokenizer().save_pretrained(place)
        batch = pair_batch()
    expected = forward(load_teacher(str(place), None).model, batch, LOGITS).logits
    config = json.loads((place / "config.json").read_text())
    for one in (config, *(config[name] for name in ("encoder", "decoder") if name in config)):
        one.update(said)
    (place / "config.json").write_text(json.dumps(config))
    teacher = load_teacher(str(place), None)
    found = forward(teacher.model, batch, LOGITS).logits
    assert found is not None and expected is not None and torch.equal(found, expected)
    student = StudentState(build_student(teacher.model, teacher.architecture))
    student.save(tmp_path)
    for whole in (load_config(str(place)), teacher.model.config, student.model.config):
        for one in (whole, *(getattr(whole, name) for name in whole.sub_configs)):
            assert not one.output_attentions and not one.output_hidden_states and one.return_dict


def test_two_models_in_one_have_one_vocabulary(tmp_path: Path) -> None:
    """Their config names none, unless someone wrote it there."""
    config = pair_config("encoder-decoder")
    del config.vocab_size
    config.save_pretrained(tmp_path)
    assert load_config(str(tmp_path)).vocab_size == config.decoder.vocab_size
    config.encoder.vocab_size += 1
    config.save_pretrained(tmp_path)
    with pytest.raises(KdnasError, match="a vocabulary of 101 and its decoder one of 100; kdnas"):
        load_config(str(tmp_path))


def test_a_general_teacher_may_have_tokens_that_its_model_lacks(
    make_teacher: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_teacher("bert", vocab_size=len(small_tokenizer()))
    other = shutil.copytree(folder, tmp_path / "other")
    tokenizer = small_tokenizer()
    tokenizer.add_tokens(["[URL]"])
    tokenizer.save_pretrained(folder)
    parts = load_parts(str(folder))
    check_general_teacher(str(folder), *parts)
    assert capsys.readouterr().out.count("1 token without an embedding") == 1
    with pytest.raises(
        KdnasError, match=r"has vocab_size \d+, the teacher \d+; give one that diff"
    ):
        check_general_teacher(str(other), *parts)
