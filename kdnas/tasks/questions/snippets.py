"""Code that answers a question with a model that was exported, for READMEs and model cards."""

from __future__ import annotations

from kdnas.tasks.questions.answer_spans import BEST, LONGEST

# How files are opened, and texts read: as `windows_of` does. A question is cut as a text, ahead of
# the token behind the last one that stays, since the package cuts second texts alone.
ONNX_LOAD = """\
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_padding(pad_id={pad_id}, pad_token={pad_token})
session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])


def windows(question, context):
    tokenizer.no_truncation()
    tokens = tokenizer.encode(question, add_special_tokens=False).offsets
    if rest := tokens[{longest} // 2 :]:  # a question has half of a window, at most
        question = question[: rest[0][0]].rstrip()
    asked = len(tokenizer.encode(question, add_special_tokens=False))
    room = {longest} - tokenizer.num_special_tokens_to_add(True) - asked  # for the context
    tokenizer.enable_truncation(
        {longest}{truncation}
    )
    row = tokenizer.encode(question, context)
    return [row, *row.overflowing]"""

# The example of `ONNX`, and how it becomes rows of tokens.
ONNX_TEXTS = '[("When was it built?", "The tower was built in 1889.")]  # one question'
ONNX_ROWS = "rows = windows(*texts[0])"

# For exports: the rows are the windows on one context.
ONNX = """\
context, none, best = texts[0][1], np.inf, (-np.inf, "")
for row, starts, ends in zip(rows, start_logits, end_logits):
    none = min(none, starts[0] + ends[0])  # the score of no answer
    inside = [i for i, side in enumerate(row.sequence_ids) if side == 1]
    for i in sorted(inside, key=lambda i: -starts[i])[:{best}]:
        for j in sorted(inside, key=lambda j: -ends[j])[:{best}]:
            if i <= j < i + {longest} and starts[i] + ends[j] > best[0]:
                answer = context[row.offsets[i][0] : row.offsets[j][1]].strip()
                best = starts[i] + ends[j], answer
print({said})"""

# For model cards: one window, without a loop.
TORCH = """\
import torch

question, context = "When was it built?", "The tower was built in 1889."
tokens = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
if rest := tokens["offset_mapping"][tokenizer.model_max_length // 2 :]:
    question = question[: rest[0][0]].rstrip()  # half of what the model reads, at most
inputs = tokenizer(
    question, context, truncation="only_second", return_offsets_mapping=True, return_tensors="pt"
)
spans = inputs.pop("offset_mapping")[0].tolist()
outside = torch.tensor([side != 1 for side in inputs.sequence_ids(0)])
with torch.inference_mode():
    output = model(**inputs)
none = output.start_logits[0, 0] + output.end_logits[0, 0]  # the score of no answer
starts, ends = (
    logits[0].masked_fill(outside, -torch.inf)
    for logits in (output.start_logits, output.end_logits)
)
scores = starts[:, None] + ends
pairs = torch.ones_like(scores).triu().tril({longest}).bool()  # at most so many tokens more
scores = scores.masked_fill(~pairs, -torch.inf)
start, end = divmod(int(scores.argmax()), len(ends))
print({said})"""


def onnx_code(threshold: float | None) -> str:
    """Python lines that print the answer in the arrays `start_logits` and `end_logits`.

    Without a threshold every question is answered.
    """
    return ONNX.format(best=BEST, longest=LONGEST, said=_said(threshold, "best[0]", "best[1]"))


def torch_code(threshold: float | None) -> str:
    """Python lines that print the answer of `model` and `tokenizer`."""
    answer = "context[spans[start][0] : spans[end][1]].strip()"
    return TORCH.format(longest=LONGEST - 1, said=_said(threshold, "scores.max()", answer))


def _said(threshold: float | None, score: str, answer: str) -> str:
    """What a snippet prints."""
    if threshold is None:
        return answer
    return f'"" if none - {score} > {threshold:g} else {answer}'
