"""A student in ONNX Runtime, without torch: python student.py EXPORT "a text" ...

EXPORT is a folder that `kdnas export RUN --format onnx --out EXPORT` writes. Needs the packages
onnxruntime, tokenizers and numpy. Answers as `kdnas predict --json` does.
"""

import json
import sys
from bisect import bisect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Regex, Tokenizer, pre_tokenizers

Text = str | tuple[str, str]  # a text, or a pair of texts
FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}

# Other types, also those of plug-ins, answer by code of their own.
SERVED = ("classification", "regression", "multi-label", "token-classification")


class WrongTextsError(ValueError):
    """A pair for a student of single texts, or the reverse."""


def load(folder: Path) -> Callable[[list[Text]], list[dict[str, Any]]]:
    """A function that labels texts, from one thread or several; see `check` for what it refuses."""
    about = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    if about["task_type"] not in SERVED:
        raise SystemExit(f"{about['task_type']}: take the code of {folder / 'README.md'}")
    entities_told = about["task_type"] == "token-classification"
    count = about.get("texts", 1 if entities_told else None)  # older exports do not say
    words = word_splitter(*about["words"]) if "words" in about else None
    if entities_told and words is None:
        raise SystemExit(f"{folder} is of an older kdnas: export the student again")
    token, pad_id = about["pad_token"]
    if not (folder / "tokenizer.json").exists():
        raise SystemExit(f"{folder} has no tokenizer.json: take the code of its README.md")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(about["longest"], direction=about.get("truncation_side", "right"))
    tokenizer.enable_padding(pad_id=pad_id, pad_token=token)
    file = folder / next(iter(about["files"].values()))
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def label(texts: list[Text]) -> list[dict[str, Any]]:
        check(texts, count)
        rows = tokenizer.encode_batch(texts)
        inputs = {name: [getattr(row, FIELDS[name]) for row in rows] for name in about["inputs"]}
        [logits] = session.run(["logits"], {name: np.array(ids) for name, ids in inputs.items()})
        if entities_told:
            each = zip(texts, rows, logits.astype(float), strict=True)
            return [{"entities": entities(*one, about["tags"], words)} for one in each]
        if about["task_type"] == "multi-label":
            threshold = about["threshold"] or 0.5
            return [several(row, about["labels"], threshold) for row in logits.astype(float)]
        return [answer(row, about["labels"]) for row in logits.astype(float)]

    return label


def check(texts: list[Text], count: int | None) -> None:
    """Raises WrongTextsError where a row has another number of texts than the student reads."""
    for number, text in enumerate(texts, 1):
        if count is not None and count != (1 if isinstance(text, str) else 2):
            given, wanted = ("a pair", "single texts") if count == 1 else ("one text", "pairs")
            told = f"row {number} is {given}: {text!r}; the student reads {wanted}"
            raise WrongTextsError(told)


def answer(logits: np.ndarray, labels: list[str] | None) -> dict[str, Any]:
    """Label, its probability, and that of each class; of a regression the number."""
    if labels is None:
        return {"score": logits[0]}
    odds = np.exp(logits - logits.max())
    shares = dict(zip(labels, (odds / odds.sum()).tolist(), strict=True))
    best = max(shares, key=shares.__getitem__)
    return {"label": best, "score": shares[best], "probabilities": shares}


def several(logits: np.ndarray, labels: list[str], threshold: float) -> dict[str, Any]:
    """The labels whose probability is not below the threshold, and that of each."""
    shares = dict(zip(labels, (1 / (1 + np.exp(-logits))).tolist(), strict=True))
    said = [label for label, share in shares.items() if share >= threshold]
    return {"labels": said, "probabilities": shares}


def word_splitter(run: str, in_run: str) -> pre_tokenizers.PreTokenizer:
    """Finds the words of a text as `kdnas predict` does: what stands between spaces, in parts."""
    split = pre_tokenizers.Split
    parts = [split(Regex(run), "removed", invert=True), split(Regex(in_run), "isolated")]
    return pre_tokenizers.Sequence(parts)


def entities(
    text: str, row: Any, logits: np.ndarray, tags: list[str], words: pre_tokenizers.PreTokenizer
) -> list[dict[str, Any]]:
    """Entities with their characters; the first piece of a word has its tag."""
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    best, scores = logits.argmax(-1), odds.max(-1) / odds.sum(-1)
    spans = [span for _, span in words.pre_tokenize_str(text)]
    ends = [end for _, end in spans]
    found: list[dict[str, Any]] = []
    last, part = -1, "O"
    begins = [(start, chunk) for (start, _), chunk in zip(row.offsets, row.word_ids, strict=True)]
    behind = [*begins[1:], None]
    for at, ((start, end), chunk) in enumerate(zip(row.offsets, row.word_ids, strict=True)):
        word = bisect(ends, start)
        if chunk is None or word == len(spans) or word <= last:
            continue  # special tokens, padding, and further pieces of a word
        if end <= spans[word][0] and behind[at] != (spans[word][0], chunk):
            continue  # a space, and no mark of the word that the next piece begins
        before, last = part if word == last + 1 else "O", word
        part, _, kind = tags[best[at]].partition("-")
        if not (before in "BI" and part in "IE" and found[-1]["type"] == kind):
            if part == "O":
                continue
            found.append({"type": kind, "start": spans[word][0], "scores": []})
        found[-1]["end"] = ends[word]
        found[-1]["scores"].append(scores[at])
    return [
        {
            "type": one["type"],
            "text": text[one["start"] : one["end"]],
            "start": one["start"],
            "end": one["end"],
            "score": float(np.mean(one["scores"])),
        }
        for one in found
    ]


if __name__ == "__main__":
    try:
        answers = load(Path(sys.argv[1]))(list(sys.argv[2:]))
    except WrongTextsError as error:
        raise SystemExit(str(error)) from error
    for found in answers:
        print(json.dumps(found, ensure_ascii=False))
