import math

import pytest
import torch

from kdnas.distill.losses import logit_loss, scales, squared_error, task_loss


def test_squared_error_sums_dimensions_and_averages_tokens() -> None:
    predicted = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    target = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert float(squared_error(predicted, target)) == pytest.approx((5 + 25) / 2)


def test_the_gradient_of_the_squared_error_is_its_derivative() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.randn(2, 5, 3, generator=generator)
    ours, plain = (predicted.clone().requires_grad_() for _ in range(2))
    (3 * squared_error(ours, target)).backward()
    (3 * (plain - target).square().sum(1).mean()).backward()
    torch.testing.assert_close(ours.grad, plain.grad)


@pytest.mark.parametrize(
    ("normalisation", "expected"),
    [
        ("raw", [2**-0.5, 2**-0.5]),
        ("layer", [4**-0.5, 4**-0.5]),
        ("dimension", [1 / math.sqrt(2), 1 / math.sqrt(6)]),
    ],
)
def test_golden_scales(normalisation: str, expected: list[float]) -> None:
    assert scales(torch.tensor([1.0, 3.0]), normalisation).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("normalisation", ["layer", "dimension"])
def test_predicting_the_mean_leaves_all_variance(normalisation: str) -> None:
    states = torch.randn(500, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 9)
    centred = states - states.mean(0)
    scaled = centred * scales(states.var(0, correction=0), normalisation)
    loss = squared_error(torch.zeros_like(scaled), scaled)
    assert float(loss) == pytest.approx(1.0, abs=1e-4)


def test_golden_logit_loss() -> None:
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    p = torch.softmax(teacher / 2, -1)
    q = torch.softmax(student / 2, -1)
    expected = 4 * float((p * (p.log() - q.log())).sum())
    assert expected == pytest.approx(1.029613, abs=1e-5)
    assert float(logit_loss(student, teacher, 2.0)) == pytest.approx(expected, abs=1e-6)
    assert float(logit_loss(teacher, teacher, 2.0)) == pytest.approx(0.0, abs=1e-7)


def test_logit_loss_of_a_regression_is_squared_error() -> None:
    student, teacher = torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])
    assert float(logit_loss(student, teacher, 7.0)) == pytest.approx(2.5)


def test_golden_task_loss() -> None:
    logits = torch.tensor([[2.0, 0.0]])
    assert float(task_loss(logits, torch.tensor([0]))) == pytest.approx(math.log(1 + math.exp(-2)))
    scores = torch.tensor([[1.0], [3.0]])
    assert float(task_loss(scores, torch.tensor([0.0, 3.0]))) == pytest.approx(0.5)
