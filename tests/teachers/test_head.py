"""The head's outputs, whatever the family calls them and wherever it has them."""

from __future__ import annotations

import pytest
import torch
from conftest import small_config
from transformers import AutoModelForSequenceClassification

from kdnas.space import FAMILIES
from kdnas.teachers.head import order_outputs, scale_outputs

TOKENS = torch.arange(5, 23).view(2, 9)


@pytest.mark.parametrize("model_type", sorted(FAMILIES))
def test_outputs_are_scaled_and_ordered(model_type: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(small_config(model_type)).eval()
    before = model(TOKENS).logits.detach()
    scale_outputs(model, 2.0, 3.0)
    order_outputs(model, [1, 0])
    torch.testing.assert_close(model(TOKENS).logits, (2 * before + 3).flip(1))
