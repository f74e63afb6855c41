"""The question-answering type: losses over each window's own softmax, answers, thresholds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import small_tokenizer
from support.tiny import squad_articles
from support.tiny_tokenizers import MAKE
from torch import Tensor

from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.losses.logits import LogitsLoss, TaskLoss
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signals import LiveSignal
from kdnas.distillation.training import heldout_losses, predict, train
from kdnas.runtime.device import Runtime
from kdnas.space import FAMILIES, Architecture
from kdnas.students import build_student
from kdnas.tasks import TASK_TYPES, EncodedExamples, Examples, TaskSpec, encode, task_type_of
from kdnas.tasks.encode import Units, offsets_of, uncut_lengths
from kdnas.tasks.questions.references import References
from kdnas.teachers.load import load_teacher

KIND = TASK_TYPES["question-answering"]
NONE = -1e9  # a logit that no softmax sees


def units_of(sizes: list[int], length: int = 12) -> Units:
    """Units of windows with so many of them: their first token, then those from the third on."""
    example = np.repeat(np.arange(len(sizes)), sizes)
    position = np.concatenate([[0, *range(3, 2 + size)] for size in sizes])
    return Units(torch.from_numpy(example), torch.from_numpy(position), len(sizes), length)


def two_windows() -> tuple[Tensor, Tensor, Units]:
    """The golden values of METHODS: starts of two units, ends of three, in two windows."""
    student = torch.tensor([[1.0, 2], [0, 0], [NONE, 1]]).repeat(2, 1)
    teacher = torch.tensor([[0.0, 0], [1, 1], [NONE, 1]]).repeat(2, 1)
    return student, teacher, units_of([3, 3])


def test_the_distillation_loss_is_the_mean_of_starts_and_ends() -> None:
    student, teacher, units = two_windows()
    assert KIND.logit_loss(student, teacher, units, 2.0, "kl").item() == pytest.approx(
        0.6076765, abs=1e-6
    )
    starts, ends = student.clone(), student.clone()
    starts[:, 1], ends[:, 0] = teacher[:, 1], teacher[:, 0]
    for part, golden in ((starts, 0.4898373), (ends, 0.7255156)):
        found = KIND.logit_loss(part, teacher, units, 2.0, "kl").item()
        assert found == pytest.approx(golden / 2, abs=1e-6)


def test_soft_cross_entropy_is_larger_by_the_teachers_entropy() -> None:
    student, teacher, units = two_windows()
    distances = [KIND.logit_loss(student, teacher, units, 2.0, kind) for kind in ("ce", "kl")]
    entropy = KIND.logit_loss(teacher, teacher, units, 2.0, "ce")
    assert (distances[0] - distances[1]).item() == pytest.approx(entropy.item(), abs=1e-5)
    assert KIND.logit_loss(teacher, teacher, units, 2.0, "kl").item() == pytest.approx(0, abs=1e-6)


def test_squared_error_is_a_mean_over_windows_of_any_length() -> None:
    student = torch.tensor([[1.0, 1], [3, 0], [0, 0], [2, 0], [0, 0]])
    found = KIND.logit_loss(student, torch.zeros(5, 2), units_of([2, 3]), 2.0, "mse")
    assert found.item() == pytest.approx(((10 / 2 + 1 / 2) / 2 + (4 / 3 + 0) / 2) / 2)


def test_neither_other_windows_nor_padding_change_a_loss() -> None:
    rng = torch.Generator().manual_seed(0)
    sizes = [3, 7, 1, 5]
    student, teacher = (torch.randn(16, 2, generator=rng) for _ in range(2))
    labels = torch.zeros(16, 2, dtype=torch.int8)
    ends = offsets_of(np.array(sizes))
    labels[torch.from_numpy(ends[:-1])] = 1
    each = []
    for i in range(4):
        part = slice(int(ends[i]), int(ends[i + 1]))
        alone = units_of(sizes[i : i + 1], 40)
        each.append(
            [
                KIND.task_loss(student[part], labels[part], alone),
                *(KIND.logit_loss(student[part], teacher[part], alone, 3.0, k) for k in KINDS),
            ]
        )
    units = units_of(sizes)
    whole = [
        KIND.task_loss(student, labels, units),
        *(KIND.logit_loss(student, teacher, units, 3.0, k) for k in KINDS),
    ]
    torch.testing.assert_close(torch.stack(whole), torch.tensor(each).mean(0))


KINDS: tuple[Any, ...] = ("kl", "ce", "mse")


def test_the_task_loss_is_of_labelled_windows() -> None:
    logits = torch.tensor([[2.0, 0], [0, 1], [5, 5], [6, 6]], requires_grad=True)
    labels = torch.tensor([[1, 0], [0, 1], [-1, -1], [-1, -1]], dtype=torch.int8)
    units = units_of([2, 2])
    loss = KIND.task_loss(logits, labels, units)
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert (logits.grad[2:] == 0).all() and (logits.grad[:2] != 0).all()
    assert (KIND.count(units), KIND.count(units, labels)) == (2, 1)
    none = KIND.task_loss(logits, torch.full((4, 2), -1, dtype=torch.int8), units)
    assert none.item() == 0


def test_centred_logits_have_no_mean_in_any_window() -> None:
    logits = torch.arange(10.0).reshape(5, 2)
    found = KIND.centred(logits, units_of([2, 3]))
    assert found.tolist() == [[-1, -1], [1, 1], [-2, -2], [0, 0], [2, 2]]
    without_places = Units(torch.tensor([0, 0, 1, 1, 1]), examples=2)
    assert torch.equal(KIND.centred(logits, without_places), found)


TOKENIZER = small_tokenizer()
CONTEXT = "the good cat likes the bad dog. the slow bird sees the quick film."


def questions(labels: list[References | None], ids: list[str] | None = None) -> EncodedExamples:
    count = len(labels)
    examples = Examples(
        ["the good cat likes what?"] * count,
        [CONTEXT] * count,
        KIND.label_array(labels),
        task_type="question-answering",
        row_ids=ids,
    )
    return encode(examples, TOKENIZER, 24, options={"window_stride": 4})


def pointing(data: EncodedExamples, answer: str, height: float = 9.0) -> np.ndarray:
    """Logits that point at an answer in each window that holds it, else at the first unit."""
    assert data.spans is not None
    start = CONTEXT.find(answer) if answer else -1
    logits = np.zeros((len(data.spans), 2))
    for begin, end in zip(data.unit_offsets[:-1], data.unit_offsets[1:], strict=True):
        spans = data.spans[begin:end]
        firsts = np.flatnonzero(spans[:, 0] == start) if answer else []
        lasts = np.flatnonzero(spans[:, 1] == start + len(answer)) if answer else []
        held = len(firsts) and len(lasts) and lasts[-1] >= firsts[-1] > 0
        logits[begin + (firsts[-1] if held else 0), 0] = height
        logits[begin + (lasts[-1] if held else 0), 1] = height
    return logits


DOG = References(("bad dog", "the bad dog"), (23, 19))


def test_an_answer_is_found_over_all_windows_with_its_place() -> None:
    data = questions([DOG])
    assert len(data) > 1
    logits = pointing(data, "quick film")
    assert KIND.predictions(logits, data).tolist() == ["quick film"]
    [said] = KIND.row_answers(logits, (), data)
    assert said["answer"] == CONTEXT[said["start"] : said["end"]] == "quick film"
    assert 0.9 < said["score"] <= 1
    assert KIND.truths(data).tolist() == [("bad dog", "the bad dog")]


def test_no_answer_is_said_above_the_threshold_alone() -> None:
    data = questions([DOG, DOG])
    logits = pointing(data, "", 2.0)
    assert all(KIND.predictions(logits, data))  # no threshold, no question without an answer
    assert KIND.predictions(logits, data, 3.9).tolist() == ["", ""]
    assert all(KIND.predictions(logits, data, 4.1))
    [said, _] = KIND.row_answers(logits, (), data, 3.9)
    assert (said["answer"], said["start"], said["end"]) == ("", 0, 0)
    assert 0 < said["score"] < 1
    mixed = questions([DOG, References((), ())])
    unsure = pointing(mixed, "", 2.0)
    # Who scores and who predicts read a model alike, whatever the questions.
    for threshold, answers in ((KIND.usual_threshold(mixed), False), (None, True)):
        said = KIND.predictions(unsure, mixed, threshold).tolist()
        assert said == [one["answer"] for one in KIND.row_answers(unsure, (), mixed, threshold)]
        assert [bool(one) for one in said] == [answers] * 2


def test_who_learnt_that_questions_have_no_answer_has_a_threshold() -> None:
    assert KIND.usual_threshold(questions([DOG])) is None
    assert KIND.usual_threshold(questions([DOG, References((), ()), None])) == 0


def test_the_threshold_is_chosen_by_f1_where_questions_have_no_answer() -> None:
    assert KIND.choose_threshold(pointing(questions([DOG]), "bad dog"), questions([DOG])) is None
    data = questions([DOG, DOG, References((), ()), None])
    logits = pointing(data, "bad dog", 5.0)
    third = slice(*data.row_units[2:4])
    one = questions([DOG])
    logits[third] = pointing(one, "", 4.0) + pointing(one, "quick film", 0.1)
    chosen = KIND.choose_threshold(logits, data)
    assert chosen is not None
    said = KIND.predictions(logits, data, chosen)
    assert said[:3].tolist() == ["bad dog", "bad dog", ""]


def test_whoever_knows_no_text_says_no_answer_where_some_have_none() -> None:
    data = questions([DOG, References((), ())])
    assert KIND.constant_answers(KIND.truths(questions([DOG])), ()) == ()
    [constant] = KIND.constant_answers(KIND.truths(data), ())
    assert constant.name == "no answer"
    assert constant.predict(data).tolist() == ["", ""]


def test_rows_survive_json_and_are_compared_by_their_words() -> None:
    truths = KIND.as_rows([["The Dog", "cat"], [], ["x"]])
    assert truths.tolist() == [("The Dog", "cat"), (), ("x",)]
    ours = KIND.as_rows(["dog!", "", "y"])
    assert KIND.differ(ours, truths).tolist() == [False, False, True]
    assert KIND.differ(ours, KIND.as_rows(["the dog", "a", ""])).tolist() == [False, False, True]
    examples = Examples(["q"], ["c"], task_type="question-answering")
    assert KIND.row_in_words(("a", "b"), (), examples, 0) == "a / b"
    assert KIND.row_in_words((), (), examples, 0) == KIND.row_in_words("", (), examples, 0)
    assert KIND.answer_line({"answer": "1889", "score": 0.93}, ()) == "1889  0.9300"
    assert KIND.answer_line({"answer": "", "score": 0.93}, ()) == "(no answer)  0.9300"


def test_predictions_go_to_a_file_in_the_official_form() -> None:
    data = questions([DOG, DOG], ["56be", "56bf"])
    assert KIND.predictions_text(["Café", ""], data) == '{"56be": "Café", "56bf": ""}\n'
    nameless = questions([DOG])
    assert KIND.predictions_text(["x"], nameless) == '{"0": "x"}\n'


def test_parts_keep_the_windows_of_their_questions() -> None:
    data = questions([DOG, References((), ()), DOG], ["a", "b", "c"])
    part = data.take(np.flatnonzero(data.rows == 1))
    assert part.row_count == 1 and part.references is not None
    assert (part.references[0].id, part.references[0].answers) == ("b", ())
    assert data.fingerprint() != questions([DOG, DOG, DOG], ["a", "b", "c"]).fingerprint()
    assert data.fingerprint() == questions([DOG, References((), ()), DOG], [*"abc"]).fingerprint()
    assert data.row_units.tolist()[-1] == data.unit_offsets[-1]


def test_a_head_of_transformers_is_known_by_its_class(make_teacher: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForQuestionAnswering

    model = AutoModelForQuestionAnswering.from_pretrained(make_teacher())
    assert task_type_of(model.config, type(model).__name__) is KIND


HEADLESS = ("eurobert", "gte", "nomic_bert")  # in transformers


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in HEADLESS])
def test_every_family_with_a_head_answers_and_a_student_learns_from_it(
    family: str, make_teacher: Callable[..., Path], runtime: Runtime
) -> None:
    spec = TaskSpec.model_validate({"name": "ask", "type": "question-answering"})
    teacher = load_teacher(str(make_teacher(family)), spec)
    assert not teacher.has_head
    teacher = replace(teacher, has_head=True)
    examples = squad_examples(8)
    data = encode(examples, teacher.tokenizer, 32, options={"window_stride": 8})
    assert len(data) > 8
    shape = {**teacher.architecture.params, "num_hidden_layers": 1}
    student = build_student(teacher.model, Architecture(**shape))
    assert type(student).__name__.endswith("ForQuestionAnswering")
    source = LiveSignal(teacher.model, runtime)
    losses = WeightedLosses({"task": (1.0, TaskLoss()), "logits": (1.0, LogitsLoss())})
    train(student, losses, data, source, Schedule(1, 1e-3, 4, 0), runtime, pad_id=0)
    found = heldout_losses(student, losses, data, source, runtime, pad_id=0)
    assert all(np.isfinite(value) for value in found.values())
    logits = predict(student, data, runtime, pad_id=0).numpy()
    assert logits.shape == (int(data.unit_offsets[-1]), 2)
    assert all(KIND.predictions(logits, data))


def squad_examples(count: int) -> Examples:
    questions = [
        (question, paragraph["context"])
        for article in squad_articles(count, 5)
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    labels = [
        References((q["answers"][0]["text"],), (q["answers"][0]["answer_start"],))
        for q, _ in questions
    ]
    texts = [q["question"] for q, _ in questions], [context for _, context in questions]
    return Examples(*texts, KIND.label_array(labels), task_type="question-answering")


def test_packed_and_padded_passes_give_the_same_logits(
    teacher_folder: Path, runtime: Runtime
) -> None:
    spec = TaskSpec.model_validate({"name": "ask", "type": "question-answering"})
    teacher = load_teacher(str(teacher_folder), spec)
    data = encode(squad_examples(12), teacher.tokenizer, 32, options={"window_stride": 8})
    packed = predict(teacher.model, data, runtime, pad_id=0)
    assert data.units is not None and data.positions is not None
    for i in range(len(data)):
        ids = torch.from_numpy(data.take([i]).input_ids.astype(np.int64))[None]
        with torch.inference_mode():
            said = teacher.model(input_ids=ids)
        units = slice(*data.units[i : i + 2])
        both = torch.stack([said.start_logits[0], said.end_logits[0]], -1)
        torch.testing.assert_close(
            packed[units], both[torch.from_numpy(data.positions[units]).long()], atol=1e-5, rtol=0
        )


def test_people_are_told_of_windows_cut_questions_and_answers_in_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = References((CONTEXT[:50],), (0,))
    examples = Examples(
        ["the cat?", " ".join(["the good cat"] * 30)],
        [CONTEXT, CONTEXT],
        KIND.label_array([long, DOG]),
        task_type="question-answering",
    )
    encode(examples, TOKENIZER, 16, "train", {"window_stride": 2})
    said = capsys.readouterr().out
    assert "train: 2 contexts are too long for 16 tokens and read in" in said
    assert "train: 1 question is cut at 8 tokens, half of a window" in said
    assert "train: 1 answer is in no window as a whole; it counts as no answer" in said
    encode(examples.take([0]), TOKENIZER, 64, "train")
    assert not capsys.readouterr().out.strip()


def test_a_teacher_and_the_floor_are_better_than_nothing() -> None:
    floor = KIND.simple_model(squad_examples(40), (), 0)
    assert floor is not None and floor[0] == "word overlap, short span"
    examples = squad_examples(40)
    said, truths = floor[1](examples), KIND.truths(examples)
    assert KIND.metrics["f1"](said, truths) > 0.3
    asked = Examples(
        ["When was the tower built?", "Who built the tower?", "Where?"],
        ["A city. The tower was built in 1889 by Gustave Eiffel. It is tall."] * 2 + [""],
        task_type="question-answering",
    )
    assert floor[1](asked).tolist() == ["1889", "Gustave Eiffel", ""]


def test_lengths_are_those_of_whole_contexts() -> None:
    texts, contexts = ["the cat?", "what does the good dog see?"], [CONTEXT, f"{CONTEXT} {CONTEXT}"]
    examples = Examples(
        texts, contexts, KIND.label_array([DOG, DOG]), task_type="question-answering"
    )
    data = encode(examples, TOKENIZER, 16, options={"window_stride": 2})
    assert len(data) > len(examples)
    whole = TOKENIZER(examples.text, examples.text_pair)["input_ids"]
    lengths = uncut_lengths(examples, data, TOKENIZER, 16)
    assert lengths.tolist() == [len(row) for row in whole] and lengths.min() > 16


@pytest.mark.parametrize("stride", [0, 4, 5, 128])
def test_code_of_an_export_reads_the_windows_that_were_scored(stride: int) -> None:
    examples = squad_examples(12)
    data = encode(examples, TOKENIZER, 24, options={"window_stride": stride})
    read = windows_in_code(TOKENIZER, 24, stride)
    rows = [read(*pair) for pair in zip(examples.text, examples.text_pair or (), strict=True)]
    windows = [part.ids for row in rows for part in row]
    ends = data.offsets.tolist()
    assert windows == [data.input_ids[a:b].tolist() for a, b in itertools.pairwise(ends)]
    assert len(windows) > len(rows)


@pytest.mark.parametrize(("longest", "stride"), [(384, 128), (384, 300), (128, 128), (16, 128)])
def test_questions_of_any_length_leave_code_of_an_export_the_windows_that_were_scored(
    longest: int, stride: int
) -> None:
    asked = ["the " * count for count in (1, longest // 4, longest // 3, longest // 2)]
    examples = Examples(asked, ["cat " * 2 * longest] * len(asked), task_type=KIND.name)
    data = encode(examples, TOKENIZER, longest, options={"window_stride": stride})
    read = windows_in_code(TOKENIZER, longest, stride)
    rows = [read(*pair) for pair in zip(asked, examples.text_pair or (), strict=True)]
    ends = data.offsets.tolist()
    wanted = [data.input_ids[a:b].tolist() for a, b in itertools.pairwise(ends)]
    assert [part.ids for row in rows for part in row] == wanted
    assert all(len(row) > 1 for row in rows)


LONG = (
    "whom does the good cat see where the quick dog follows 8421 büßer, and the dull river; why? "
)


@pytest.mark.parametrize("family", MAKE)
@pytest.mark.parametrize("longest", [16, 33])
def test_code_of_an_export_cuts_questions_where_kdnas_does(family: str, longest: int) -> None:
    tokenizer = MAKE[family]()
    asked = ["", "why?", *(LONG[start:] * times for start in range(12) for times in (1, 5))]
    contexts = ["", CONTEXT, *[CONTEXT * 3] * 24]
    windows = windows_in_code(tokenizer, longest)
    rows = [windows(*pair) for pair in zip(asked, contexts, strict=True)]
    examples = Examples(asked, contexts, task_type=KIND.name)
    data = encode(examples, tokenizer, longest, options={"window_stride": 3})
    ends = data.offsets.tolist()
    wanted = [data.input_ids[a:b].tolist() for a, b in itertools.pairwise(ends)]
    assert [part.ids for row in rows for part in row] == wanted
    assert data.rows is not None and len(rows) < len(data) == sum(map(len, rows))
    # A character of several tokens is left out as a whole.
    for at in range(1, 9):
        parts = windows(f"{LONG[:at]}\U0001f408" * 9, CONTEXT * 3)
        assert len(parts) > 1 and all(len(part.ids) <= longest for part in parts)


def windows_in_code(
    tokenizer: Any, longest: int, stride: int = 3
) -> Callable[[str, str], list[Any]]:
    """The function of an export's README for a run whose windows share `stride` tokens."""
    plain = deepcopy(tokenizer.backend_tokenizer)
    plain.no_padding()
    told = {"truncation": KIND.onnx_truncation(longest, window_stride=stride), "longest": longest}
    code = KIND.onnx_load.format(pad_id=0, pad_token="", file="", **told)
    names: dict[str, Any] = {"tokenizer": plain}
    exec(code[code.index("def windows") :], names)
    found: Callable[[str, str], list[Any]] = names["windows"]
    return found


@pytest.mark.parametrize("family", MAKE)
def test_code_of_a_card_reads_questions_of_any_length(family: str) -> None:
    tokenizer = MAKE[family]()
    tokenizer.model_max_length = 24
    read: list[Any] = []

    def model(**inputs: Tensor) -> Any:
        read.append(inputs["input_ids"][0].tolist())
        logits = torch.zeros(inputs["input_ids"].shape)
        return SimpleNamespace(start_logits=logits, end_logits=logits)

    given = 'question, context = "When was it built?", "The tower was built in 1889."'
    code = KIND.torch_answer()
    assert given in code
    for asked in ("", "why?", LONG[:40], LONG * 5):
        names = {"tokenizer": tokenizer, "model": model}
        exec(code.replace(given, f"question, context = {asked!r}, {CONTEXT!r}"), names)
        examples = Examples([asked], [CONTEXT], task_type=KIND.name)
        data = encode(examples, tokenizer, 24)
        assert read[-1] == data.take([0]).input_ids[: data.lengths[0]].tolist()
