"""Code that runs an exported student in ONNX Runtime, for its README; types may have their own.

Each is a format string: `ONNX_LOAD` takes `longest`, `truncation`, `pad_id`, `pad_token` and
`files`, `ONNX_RUN` takes `outputs`, `names` and `inputs`.
"""

from __future__ import annotations

ONNX_LOAD = """\
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation({longest}{truncation})
tokenizer.enable_padding(pad_id={pad_id}, pad_token={pad_token})
session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])"""

ONNX_ROWS = "rows = tokenizer.encode_batch(texts)"

ONNX_RUN = """\
[{outputs}] = session.run({names}, {{
{inputs}
}})"""
