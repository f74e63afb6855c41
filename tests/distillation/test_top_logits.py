"""A teacher's likeliest outputs say nearly what all of them do."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from support.tiny_pairs import pair_batch, tiny_pair

from kdnas.distillation.forward import forward
from kdnas.distillation.losses.logits import LogitsLoss, LogitsOptions
from kdnas.distillation.outputs import ModelOutputs, OutputRequest
from kdnas.distillation.top_logits import TEMPERATURES, Keep, TopLogits, top_divergence, top_of
from kdnas.space import Architecture


def divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    given, wanted = ((x / temperature).log_softmax(-1) for x in (student, teacher))
    return F.kl_div(given, wanted, reduction="batchmean", log_target=True) * temperature**2


def test_golden_choice_and_rest() -> None:
    """Probabilities .6, .3, .08, .02: two reach .9, three .95, and at most one is kept."""
    logits = torch.tensor([[0.08, 0.6, 0.02, 0.3]]).log()
    top = top_of(logits, Keep(0.9, 4))
    assert top.ids.tolist() == [[1, 3, 0, 0]]
    assert top.logs[0, :2].exp().tolist() == pytest.approx([0.6, 0.3])
    assert top.others.tolist() == [2]
    sums = [0.1, math.sqrt(0.08) + math.sqrt(0.02)]
    assert top.rest[0, :2].exp().tolist() == pytest.approx(sums)
    assert top_of(logits, Keep(0.95, 4)).others.tolist() == [1]
    assert top_of(logits, Keep(0.95, 1)).others.tolist() == [3]


def test_golden_divergence() -> None:
    """Teacher .6, .3 and .1 for the rest; student .25 each: so .25, .25 and .5."""
    top = top_of(torch.tensor([[0.08, 0.6, 0.02, 0.3]]).log(), Keep(0.9, 4))
    expected = 0.6 * math.log(0.6 / 0.25) + 0.3 * math.log(0.3 / 0.25) + 0.1 * math.log(0.1 / 0.5)
    student = torch.zeros(1, 4)
    assert top_divergence(student, top, 1.0).item() == pytest.approx(expected, abs=1e-6)
    entropy = -sum(p * math.log(p) for p in (0.6, 0.3, 0.1))
    cross = top_divergence(student, top, 1.0, entropy=False).item()
    assert cross == pytest.approx(expected + entropy, abs=1e-6)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_with_all_outputs_it_is_the_usual_divergence(temperature: float) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 9), 3 * torch.randn(5, 9)
    top = top_of(teacher, Keep(1.1, 99))
    assert top.others.tolist() == [0] * 5
    found = top_divergence(student, top, temperature)
    torch.testing.assert_close(
        found, divergence(student, teacher, temperature), rtol=1e-4, atol=1e-5
    )


def test_gradients_are_those_of_the_usual_divergence() -> None:
    torch.manual_seed(0)
    teacher = 5 * torch.randn(7, 50)
    grads = []
    for loss in (
        lambda z: top_divergence(z, top_of(teacher, Keep(0.99999, 50)), 1.0),
        lambda z: divergence(z, teacher, 1.0),
    ):
        student = torch.ones(7, 50).requires_grad_()
        (student * 1.0).retain_grad()
        loss(student).backward()
        grads.append(student.grad)
    torch.testing.assert_close(*grads, atol=1e-4, rtol=1e-2)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_rest_is_exact(temperature: float) -> None:
    torch.manual_seed(0)
    teacher = 2 * torch.randn(50, 400)
    top = top_of(teacher, Keep(0.5, 400))
    scaled = (teacher / temperature).log_softmax(-1)
    kept = scaled.gather(1, top.ids).exp() * (top.logs > -1e4)
    exact = (1 - kept.sum(1)).log()
    assert (top.at(temperature)[1] - exact).abs().max() < 1e-5


@pytest.mark.parametrize("temperature", [0.5, 1.5, 30.0])
def test_the_rest_at_other_temperatures_is_not_guessed(temperature: float) -> None:
    top = top_of(torch.randn(2, 9), Keep(0.5, 9))
    with pytest.raises(ValueError):
        top.at(temperature)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@torch.no_grad()
def test_what_it_costs_on_a_tiny_teacher(temperature: float) -> None:
    """Of a teacher as sure as real ones are, 0.999 of the probability costs next to nothing."""
    batch = pair_batch()
    outputs = (
        forward(tiny_pair(kind), batch, OutputRequest(logits=True)).logits
        for kind in ("bart", "mbart")
    )
    teacher, student = (4 * logits for logits in outputs if logits is not None)
    whole = divergence(student, teacher, temperature).item()
    found = [
        top_divergence(student, top_of(teacher, keep), temperature).item()
        for keep in (Keep(), Keep(0.9), Keep(0.9, 2))
    ]
    assert whole >= found[0] >= found[1] >= found[2] > 0
    assert found[0] == pytest.approx(whole, rel=0.02 if temperature == 1 else 0.1)


def test_no_units_cost_nothing() -> None:
    none = torch.zeros(0, 4)
    top = TopLogits(torch.zeros(0, 2, dtype=torch.long), none[:, :2], none, torch.zeros(0))
    assert top_divergence(none, top, 1.0).item() == 0


@torch.no_grad()
def test_the_loss_on_logits_reads_what_a_store_has() -> None:
    batch = pair_batch()
    output, other = (
        forward(tiny_pair(kind), batch, OutputRequest(logits=True)) for kind in ("bart", "mbart")
    )
    assert other.logits is not None
    for kind in ("kl", "ce"):
        loss = LogitsLoss(options=LogitsOptions(temperature=2.0, logit_loss=kind))
        whole = loss.loss(output, batch, other)
        top = top_of(other.logits, Keep(1.1, 100))
        for signal in (ModelOutputs(top=top), ModelOutputs(top=top).map(torch.clone)):
            found = loss.loss(output, batch, signal)
            torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-4)
            assert loss.heldout_value(output, batch, signal) == found


def test_squared_errors_of_a_vocabulary_are_refused() -> None:
    pair = Architecture(4, 4, 32, 64, "gelu", 3)
    squared = LogitsOptions(logit_loss="mse")
    problem = LogitsLoss.problem(squared, pair, [pair])
    assert problem and problem.startswith("invalid logit_loss mse: of a vocabulary")
    assert LogitsLoss.problem(squared, pair.encoder, [pair.encoder]) is None
    assert LogitsLoss.problem(LogitsOptions(), pair, [pair]) is None


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_it_is_never_above_that_of_all_outputs_and_0_for_the_teacher(temperature: float) -> None:
    torch.manual_seed(0)
    teacher = 3 * torch.randn(50, 400)
    top = top_of(teacher, Keep(0.9, 16))
    assert top_divergence(teacher, top, temperature).item() == pytest.approx(0, abs=1e-5)
    for student in (teacher + 0.1 * torch.randn(50, 400), torch.randn(50, 400)):
        whole = divergence(student, teacher, temperature).item()
        assert top_divergence(student, top, temperature).item() <= whole


@pytest.mark.parametrize("temperature", [0.5, 1.5, 30.0])
def test_temperatures_at_which_the_rest_is_not_known_are_refused(temperature: float) -> None:
    pair = Architecture(4, 4, 32, 64, "gelu", 3)
    options = LogitsOptions(temperature=temperature)
    problem = LogitsLoss.problem(options, pair, [pair])
    assert problem and problem.startswith(f"invalid temperature {temperature:g}: of a vocabulary")
    assert problem.endswith("at temperatures 1, 2, 3, 4, 5, 8, 10 and 20; give one of these")
    assert LogitsLoss.problem(options, pair.encoder, [pair.encoder]) is None
