"""Code that runs an exported student in ONNX Runtime, for its README; types may have their own.

Each is a format string: `ONNX_LOAD` takes `longest`, `truncation`, `pad_id`, `pad_token`, `file`
and `format`, `ONNX_RUN` takes `outputs`, `names` and `inputs`.
"""

from __future__ import annotations

from typing import NamedTuple


class Reading(NamedTuple):
    """How code reads texts.

    Attributes:
        packages: That it needs.
        load: It opens tokenizer and files.
        rows: It makes `rows` of tokens from `texts`.
        array: What of them is the input `name`, which stands in a row's field `field`.
    """

    packages: tuple[str, ...]
    load: str
    rows: str
    array: str


ONNX_LOAD = """\
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation({longest}{truncation})
tokenizer.enable_padding(pad_id={pad_id}, pad_token={pad_token})
session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])"""

ONNX_ROWS = "rows = tokenizer.encode_batch(texts)"

ONNX_ARRAY = "np.array([row.{field} for row in rows])"

# Of checkpoints without a tokenizer.json, such as BERTweet's, which the package tokenizers lacks.
SLOW = Reading(
    ("onnxruntime", "transformers", "numpy"),
    """\
import numpy as np
import onnxruntime
from transformers import AutoTokenizer  # it needs no torch

tokenizer = AutoTokenizer.from_pretrained(".", model_max_length={longest})
session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])""",
    'rows = tokenizer(texts, truncation=True, padding=True, return_tensors="np")',
    'rows["{name}"]',
)

ONNX_RUN = """\
[{outputs}] = session.run({names}, {{
{inputs}
}})"""
