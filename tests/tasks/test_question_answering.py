"""The question-answering type: losses over each window's own softmax, answers, thresholds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import small_tokenizer
from torch import Tensor

from kdnas.tasks import TASK_TYPES, EncodedExamples, Examples, encode, task_type_of
from kdnas.tasks.encode import Units, offsets_of
from kdnas.tasks.references import References

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
    assert KIND.predictions(pointing(mixed, "", 2.0), mixed).tolist() == ["", ""]


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
    assert KIND.constant_answer(KIND.truths(questions([DOG])), ()) is None
    constant = KIND.constant_answer(KIND.truths(data), ())
    assert constant is not None and constant.name == "no answer"
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
