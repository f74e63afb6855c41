"""Relations' divergence beside autograd's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdnas.distillation.losses import relation_divergence as module
from kdnas.distillation.losses.relation_divergence import relation_divergence
from kdnas.distillation.packing import NEVER

LENGTHS = [5, 2, 1, 4, 3]


def states(size: int, seed: int) -> Tensor:
    drawn = torch.Generator().manual_seed(seed)
    # Laid out as the heads of packed tokens are.
    return torch.randn(len(LENGTHS), 5, 3, size, generator=drawn).transpose(1, 2)


def plain(ours: list[Tensor], theirs: list[Tensor], bias: Tensor, weights: Tensor) -> Tensor:
    """As it is written in MiniLMv2."""
    own, whole = (
        F.log_softmax(a @ b.transpose(-1, -2) / a.shape[-1] ** 0.5 + bias, dim=-1)
        for a, b in (ours, theirs)
    )
    kl = F.kl_div(own, whole, reduction="none", log_target=True).sum(-1)
    return (kl * weights).sum()


@pytest.fixture
def real() -> Tensor:
    return torch.arange(5) < torch.tensor(LENGTHS)[:, None]


@pytest.mark.parametrize("together", [1, 160, 1 << 18], ids=["one", "two", "all"])
@pytest.mark.parametrize("multiple", [1, 8], ids=["to-the-token", "padded"])
@pytest.mark.parametrize("own", [True, False], ids=["among-queries", "queries-to-keys"])
def test_value_and_gradient_are_those_of_autograd(
    real: Tensor, together: int, multiple: int, own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TOGETHER", together)
    monkeypatch.setattr(module, "_MULTIPLE", multiple)
    bias = torch.zeros(len(LENGTHS), 1, 1, 5).masked_fill(~real[:, None, None], NEVER)
    weights = real[:, None] / real.sum()
    found = []
    for loss in (relation_divergence, plain):
        ours = [states(2, 0).requires_grad_()]
        ours += ours if own else [states(2, 1).requires_grad_()]
        theirs = [states(4, 2), states(4, 2 if own else 3)]
        value = loss((ours[0], ours[1]), (theirs[0], theirs[1]), bias, weights)
        (value * 3).backward()
        found.append((value.detach(), *(each.grad for each in ours)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_each_token_may_have_a_bias_of_its_own(real: Tensor) -> None:
    ahead = torch.ones(5, 5, dtype=torch.bool).triu(1)
    seen = real[:, None, None] & ~ahead
    bias = torch.zeros(len(LENGTHS), 1, 5, 5).masked_fill(~seen, NEVER)
    given = ([states(2, 0)] * 2, [states(4, 1)] * 2, bias, real[:, None].float())
    torch.testing.assert_close(relation_divergence(*given), plain(*given))  # type: ignore[arg-type]


def test_what_is_most_unlikely_counts_in_full() -> None:
    """A token that the student all but rules out: 100 for the log-probability of -100."""
    student = torch.tensor([10.0, -10.0]).view(1, 1, 2, 1)
    teacher = torch.zeros(1, 1, 2, 1)
    weights = torch.tensor([[[1.0, 0.0]]])
    value = relation_divergence(
        (student, student), (teacher, teacher), torch.zeros(1, 1, 1, 2), weights
    )
    assert float(value) == pytest.approx(100 - torch.log(torch.tensor(2.0)).item())


def test_autocast_on_a_cpu_changes_nothing(real: Tensor) -> None:
    bias = torch.zeros(len(LENGTHS), 1, 1, 5).masked_fill(~real[:, None, None], NEVER)
    given = ((states(2, 0),) * 2, (states(4, 1),) * 2, bias, real[:, None].float())
    exact = relation_divergence(*given)  # type: ignore[arg-type]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(relation_divergence(*given), exact)  # type: ignore[arg-type]


def test_without_gradients_none_are_computed(real: Tensor) -> None:
    bias = torch.zeros(len(LENGTHS), 1, 1, 5)
    given = ((states(2, 0).requires_grad_(),) * 2, (states(4, 1),) * 2, bias, real[:, None].float())
    with torch.no_grad():
        assert not relation_divergence(*given).requires_grad  # type: ignore[arg-type]


def test_examples_without_tokens_count_nothing() -> None:
    """Batches are filled up to a multiple of examples."""
    real = torch.tensor([[True, True, False], [False, False, False]])
    bias = torch.zeros(2, 1, 1, 3).masked_fill(~real[:, None, None], NEVER)
    ours, theirs = torch.randn(2, 2, 3, 2, requires_grad=True), torch.randn(2, 2, 3, 2)
    weights = real[:, None].float()
    alone = relation_divergence((ours[:1], ours[:1]), (theirs[:1],) * 2, bias[:1], weights[:1])
    whole = relation_divergence((ours, ours), (theirs, theirs), bias, weights)
    assert float(whole) == pytest.approx(float(alone))
    whole.backward()
    assert ours.grad is not None
    assert not ours.grad[1].any()
    assert not ours.grad[0, :, 2].any()
