from __future__ import annotations

import numpy as np
import pytest
from conftest import small_config

from kdnas.errors import KdnasError
from kdnas.tasks import EncodedExamples
from kdnas.teachers.sound import check_inputs


def data(token: int, kind: int) -> EncodedExamples:
    ids = np.array([2, token, 3], np.int32)
    return EncodedExamples(ids, np.array([0, kind, 0], np.int8), np.array([0, 3]))


def test_what_the_model_has_an_embedding_for_passes() -> None:
    fitting = data(199, 1)
    assert check_inputs(fitting, small_config()) is fitting
    for model_type in ("distilbert", "mpnet", "deberta-v2"):  # they read no token types
        check_inputs(fitting, small_config(model_type))
    check_inputs(EncodedExamples(fitting.input_ids, None, fitting.offsets), small_config())


@pytest.mark.parametrize(
    ("token", "kind", "said"),
    [
        (200, 1, "gives token 200, but the model's vocab_size is 200; give the tokenizer"),
        (199, 2, "gives token type 2, but the model's type_vocab_size is 2; give the tokenizer"),
    ],
)
def test_what_it_has_none_for_is_refused(token: int, kind: int, said: str) -> None:
    with pytest.raises(KdnasError, match=said):
        check_inputs(data(token, kind), small_config())
