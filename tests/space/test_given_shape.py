"""A shape that is given: what is left out is in the teacher's proportions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.tiny import small_config
from support.tiny_pairs import pair_config

from kdnas.config.shape import read_shape
from kdnas.errors import KdnasError
from kdnas.space import FAMILIES, Architecture, Candidate, SearchSpace
from kdnas.space.candidate import shape_of_assistant
from kdnas.space.derivation import derive_choices
from kdnas.space.given_shape import complete, space_of_shape, with_assistants
from kdnas.students import empty_student
from kdnas.tasks.types import TASK_TYPES

BERT = Architecture(12, 12, 768, 3072, "gelu")
MINILM = Architecture(6, 12, 384, 1536, "gelu")


def space_of(teacher: Architecture, multiple: int = 1, but: tuple[int, ...] = ()) -> SearchSpace:
    choices = derive_choices(teacher, multiple)
    return SearchSpace(teacher, choices, frozenset(but), head_multiple=multiple)


@pytest.mark.parametrize(
    ("teacher", "given", "label"),
    [
        (BERT, "half", "6x768 h12 f3072 gelu"),  # DistilBERT
        (BERT, "6x384", "6x384 h6 f1536 gelu"),
        (BERT, "6x384-h12", "6x384 h12 f1536 gelu"),  # MiniLM-L6
        (BERT, "4x312-h12-f1200", "4x312 h12 f1200 gelu"),  # TinyBERT4
        (BERT, "4x312", "4x312 h4 f1248 gelu"),  # heads of 78 are nearest to 64
        (BERT, "3", "3x768 h12 f3072 gelu"),
        (BERT, "allx64-relu", "12x64 h1 f256 relu"),
        (MINILM, "3x100", "3x100 h4 f400 gelu"),  # heads of 25 are nearest to 32
        (MINILM, "halfx97", "3x97 h1 f388 gelu"),  # a prime
        (Architecture(3, 4, 32, 64, "gelu"), "half", "2x32 h4 f64 gelu"),
        (Architecture(1, 4, 32, 1, "gelu"), "1x4-h2", "1x4 h2 f1 gelu"),
    ],
)
def test_proportions_of_the_teacher(teacher: Architecture, given: str, label: str) -> None:
    assert complete(read_shape(given), space_of(teacher)).label == label


def test_heads_of_a_rotary_teacher_are_even() -> None:
    space = space_of(MINILM, multiple=2)
    assert complete(read_shape("2x90"), space).num_attention_heads == 3  # of 30, not 5 of 18
    with pytest.raises(KdnasError, match="hidden size 33 has no heads of an even width; give 32"):
        complete(read_shape("2x33"), space)
    with pytest.raises(KdnasError, match="2 heads of an even width do not divide .* 90; give 1, 3"):
        complete(read_shape("2x90-h2"), space)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("7x384", "7x384: 7 layers are more than the teacher's 6; give 1 to 6"),
        ("6x512", "6x512: hidden size 512 is more than the teacher's 384; give 1 to 384"),
        ("6x384-h16", "16 heads are more than the teacher's 12; give 1 to 12"),
        ("6x384-f2000", "feed-forward size 2000 is more than the teacher's 1536; give 1 to 1536"),
        ("6x384-h5", "5 heads do not divide the hidden size 384; give 1, 2, 3, 4, 6, 8 or 12"),
        ("6x97-h2", "2 heads do not divide the hidden size 97; give 1$"),
        ("6x384-gelo", "transformers knows no activation 'gelo'; did you mean 'gelu'"),
        ("6x128", "hidden size 128 is the size of the teacher's embeddings"),
    ],
)
def test_no_student_of_the_teacher_has_it(given: str, message: str) -> None:
    with pytest.raises(KdnasError, match=f"^invalid --architecture .*{message}"):
        complete(read_shape(given), space_of(MINILM, but=(128,)))


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_every_family_has_students_beside_the_derived_space(model_type: str) -> None:
    config = small_config(model_type)
    space = space_of_shape(config, model_type, read_shape("2x20-h2-f37"))
    assert [a.label.rpartition(" ")[0] for a in space.architectures] == ["2x20 h2 f37"]
    assert space.architectures[0] not in SearchSpace.from_teacher(config, model_type).architectures
    config.num_labels = 2
    student = empty_student(config, space.architectures[0], TASK_TYPES["classification"]).eval()
    with torch.inference_mode():
        logits = student(input_ids=torch.tensor([[2, 7, 9, 3]])).logits
    assert logits.shape == (1, 2) and logits.isfinite().all()


PAIR = Architecture(6, 8, 512, 2048, "relu", 6)


@pytest.mark.parametrize(
    ("teacher", "given", "label"),
    [
        (PAIR, "6+2x256", "6+2x256 h4 f1024 relu"),
        (PAIR, "half", "3+3x512 h8 f2048 relu"),
        (PAIR, "all+1", "6+1x512 h8 f2048 relu"),
        (PAIR, "2+all", "2+6x512 h8 f2048 relu"),
        (Architecture(12, 8, 512, 2048, "relu", 6), "half+all", "6+6x512 h8 f2048 relu"),
        (PAIR, "all+all", "6+6x512 h8 f2048 relu"),
        (PAIR, "3+halfx256-h8+4-f512+256", "3+3x256 h8+4 f512+256 relu"),
        (Architecture(12, 8, 512, 2048, "relu", 6), "4x256", "4+2x256 h4 f1024 relu"),
        (
            Architecture(6, 8, 512, 2048, "relu", 6, 4, 1024),
            "6+2x256",
            "6+2x256 h4+2 f1024+512 relu",
        ),
    ],
)
def test_a_decoder_is_in_the_teachers_proportions(
    teacher: Architecture, given: str, label: str
) -> None:
    assert complete(read_shape(given), space_of(teacher)).label == label


@pytest.mark.parametrize(
    ("model_type", "given", "message"),
    [
        ("bart", "2+7x32", "7 decoder layers are more than the teacher's 3; give 1 to 3"),
        ("bart", "0+1x16", "0+1x16: no encoder-decoder is without layers; give 1 or more"),
        ("t5", "1+2x32", "a decoder of 2 layers is deeper than its encoder of 1, with which"),
        ("t5", "4+2x32-f64+32", "decoders of t5 have the intermediate_size of encoders; leave"),
        ("t5", "1+all", "a decoder of 3 layers is deeper than its encoder of 1, with which"),
        ("bert", "2+all", "the teacher has no decoder; leave what is behind + out"),
        ("bert", "2+2x32", "the teacher has no decoder; leave what is behind + out"),
    ],
)
def test_a_decoder_that_cannot_be_is_refused(model_type: str, given: str, message: str) -> None:
    config = small_config() if model_type == "bert" else pair_config(model_type)
    with pytest.raises(KdnasError, match=message.replace("+", r"\+")):
        space_of_shape(config, model_type, read_shape(given))


def test_two_spellings_of_an_assistant_are_one() -> None:
    config = small_config()  # 3x32 h4 f64 gelu
    space = space_of_shape(config, "bert", read_shape("1x16"))
    found = [
        with_assistants(space, words, config, "bert").assistants
        for words in (["half", "0.5", "2x24"], ["2x32-h4", "0.5", "2x24-gelu"])
    ]
    assert found[0] == found[1] == ("2x32-h4-f64-gelu", "0.5", "2x24-h3-f48-gelu")
    assert shape_of_assistant(found[0][0]) == Architecture(2, 4, 32, 64, "gelu")
    assert shape_of_assistant("0.5") is shape_of_assistant("trial-3") is None
    one, other = (Candidate(space.teacher, assistants=words) for words in found)
    assert one.key == other.key and Candidate.from_params(one.params) == other
    assert one.label.endswith("taught by 2x32,50%,2x24")


def test_a_static_student_has_assistants_of_its_teachers_proportions() -> None:
    """Its space knows nothing of heads."""
    config = small_config("roformer")
    space = space_of_shape(config, "r", read_shape("0x18"))
    [word] = with_assistants(space, ["2x18"], config, "r").assistants
    shape = shape_of_assistant(word)
    assert shape is not None and shape.head_size % 2 == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("4x32", "4x32: 4 layers are more than the teacher's 3; give 1 to 3"),
        ("2x32-h3", "2x32-h3: 3 heads do not divide the hidden size 32; give 1, 2 or 4"),
        ("2+1x32", "2+1x32: the teacher has no decoder; leave what is behind + out"),
        ("0x32", "0x32: a student without layers teaches none; give 1 layer or more"),
        ("all-minilm", "all-minilm: transformers knows no activation 'minilm'; give .* or silu$"),
    ],
)
def test_an_assistant_that_no_student_of_the_teacher_is(given: str, message: str) -> None:
    config = small_config()
    space = space_of_shape(config, "bert", read_shape("1x16"))
    with pytest.raises(KdnasError, match="^invalid --assistants " + message.replace("+", r"\+")):
        with_assistants(space, ["2x32", given], config, "bert")


def test_a_folder_called_like_a_shape_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "all-minilm").mkdir()
    config = small_config()
    space = space_of_shape(config, "bert", read_shape("1x16"))
    with pytest.raises(KdnasError, match="'minilm'; .*; the folder of that name is ./all-minilm$"):
        with_assistants(space, ["all-minilm"], config, "bert")
