import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from kdnas.distillation.losses.hidden import scales, squared_error
from kdnas.distillation.losses.logits import logit_variance, unexplained_logits
from kdnas.distillation.losses.relations import relation_loss
from kdnas.tasks import TASK_TYPES, TaskType
from kdnas.tasks.encode import Units
from kdnas.tasks.types.values import LogitLoss

CLASSES, SCORES = TASK_TYPES["classification"], TASK_TYPES["regression"]
ONE = Units(torch.zeros(1, dtype=torch.long))


def soft(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float, kind: LogitLoss = "kl"
) -> torch.Tensor:
    return CLASSES.logit_loss(student, teacher, ONE, temperature, kind)


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
    assert float(soft(student, teacher, 2.0)) == pytest.approx(expected, abs=1e-6)
    assert float(soft(teacher, teacher, 2.0)) == pytest.approx(0.0, abs=1e-7)


def test_logit_loss_of_a_regression_is_squared_error() -> None:
    student, teacher = torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])
    assert float(SCORES.logit_loss(student, teacher, ONE, 7.0, "kl")) == pytest.approx(2.5)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for classes in (2, 3, 7):
        labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 50) ** 2 % classes])
        theirs = compute_class_weight("balanced", classes=np.arange(classes), y=labels)
        ours = CLASSES.balanced_weights(labels, classes)
        assert ours is not None and np.allclose(ours, theirs)
        assert ours[labels].mean() == pytest.approx(1.0)
    absent = CLASSES.balanced_weights(np.array([0, 0, 0, 2]), 3)
    assert absent is not None and absent.tolist() == pytest.approx([2 / 3, 1, 2])
    assert SCORES.balanced_weights(np.array([0.5, 1.0]), 1) is None


def test_the_task_loss_weighs_rows_and_parts_of_a_batch_add_up() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(6, 3, generator=generator), torch.tensor([0, 1, 2, 0, 0, -100])
    weights = torch.tensor([0.5, 2.0, 3.0])
    each = -logits[:5].log_softmax(-1).gather(1, labels[:5, None])[:, 0] * weights[labels[:5]]
    whole = CLASSES.task_loss(logits, labels, ONE, weights)  # type: ignore[call-arg]
    assert float(whole) == pytest.approx(float(each.mean()))
    parts = [
        float(CLASSES.task_loss(logits[p], labels[p], ONE, weights)) * n  # type: ignore[call-arg]
        for p, n in ((slice(0, 2), 2), (slice(2, 6), 3))
    ]
    assert sum(parts) / 5 == pytest.approx(float(whole))


def test_golden_task_loss() -> None:
    logits = torch.tensor([[2.0, 0.0]])
    assert float(CLASSES.task_loss(logits, torch.tensor([0]), ONE)) == pytest.approx(
        math.log(1 + math.exp(-2))
    )
    scores = torch.tensor([[1.0], [3.0]])
    assert float(SCORES.task_loss(scores, torch.tensor([0.0, 3.0]), ONE)) == pytest.approx(0.5)


def test_golden_soft_cross_entropy_has_the_gradient_of_the_divergence() -> None:
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    p = torch.softmax(teacher / 2, -1)
    entropy = float(-(p * p.log()).sum())
    expected = float(soft(student, teacher, 2.0)) + 4 * entropy
    assert expected == pytest.approx(3.358433, abs=1e-5)
    assert float(soft(student, teacher, 2.0, "ce")) == pytest.approx(expected, abs=1e-6)
    gradients = []
    for kind in ("kl", "ce"):
        logits = student.clone().requires_grad_()
        soft(logits, teacher, 2.0, kind).backward()
        gradients.append(logits.grad)
    torch.testing.assert_close(*gradients)


def test_golden_squared_error_of_logits() -> None:
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert float(soft(student, teacher, 9.0, "mse")) == pytest.approx(2.5)


def test_golden_relation_loss() -> None:
    """One example of two real tokens and one of padding, one head of size 1."""
    student = torch.tensor([0.0, 0.0, 5.0]).view(1, 1, 3, 1)
    teacher = torch.tensor([1.0, 0.0, 7.0]).view(1, 1, 3, 1)
    bias = torch.tensor([0.0, 0.0, -1e9]).view(1, 1, 1, 3)
    p = math.e / (math.e + 1)
    first = p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)
    assert first / 2 == pytest.approx(0.055472, abs=1e-6)
    assert float(relation_loss(student, teacher, bias)) == pytest.approx(first / 2, abs=1e-6)
    assert float(relation_loss(teacher, teacher, bias)) == pytest.approx(0, abs=1e-7)


def test_relations_are_scaled_by_the_size_of_a_head() -> None:
    """A head of four equal numbers: scores of 4 a^2 over the root of 4."""
    teacher = torch.full((1, 1, 2, 4), 0.5)
    teacher[:, :, 1] = 0
    small = torch.tensor([[[[0.5**0.5], [0.0]]]])
    bias = torch.zeros(1, 1, 1, 2)
    assert float(relation_loss(small, teacher, bias)) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(
    ("task", "logits", "labels"),
    [
        (CLASSES, torch.tensor([[2.0, 0.0], [0.0, 9.0]]), torch.tensor([0, -100])),
        (SCORES, torch.tensor([[1.0], [7.0]]), torch.tensor([3.0, math.nan])),
    ],
)
def test_rows_without_a_label_do_not_count(
    task: TaskType, logits: torch.Tensor, labels: torch.Tensor
) -> None:
    expected = float(task.task_loss(logits[:1], labels[:1], ONE))
    assert float(task.task_loss(logits, labels, ONE)) == pytest.approx(expected)
    scored = logits.clone().requires_grad_()
    none = task.task_loss(scored, torch.full_like(labels, task.no_label), ONE)
    none.backward()
    assert float(none.detach()) == 0 and not scored.grad.any()


def test_golden_share_of_logits_left_unexplained() -> None:
    """Two classes: what is added to both alike says nothing; one output: it does."""
    teacher = torch.tensor([[2.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    variance = logit_variance(CLASSES.centred(teacher, ONE))

    def share(student: torch.Tensor) -> float:
        both = CLASSES.centred(student, ONE), CLASSES.centred(teacher, ONE)
        return unexplained_logits(*both, variance).item()

    assert variance == pytest.approx(4 / 3)  # of +-1, -+1 and 0, 0: 2 / 3 for either class
    assert share(torch.zeros(3, 2)) == pytest.approx(1)
    shifted = teacher + torch.tensor([[5.0], [-1.0], [0.5]])
    assert share(shifted) == pytest.approx(0, abs=1e-6)
    half = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])  # 0.5 ** 2 twice, of one in three
    assert share(half) == pytest.approx(0.125)
    single = torch.tensor([[1.0], [3.0]])
    assert logit_variance(SCORES.centred(single, ONE)) == pytest.approx(1)
    assert unexplained_logits(single + 2, single, 1.0).item() == pytest.approx(4)
