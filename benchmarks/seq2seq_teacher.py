"""A translation teacher trained from scratch on parallel lines, as small ones were before 2020.

    python benchmarks/seq2seq_teacher.py --data-dir DATA --out runs/multi30k-teacher

A shared BPE vocabulary is learnt on both sides of the training split, then a Transformer (Vaswani
et al. 2017: 6+6 layers, label smoothing 0.1, dropout) is trained by the loop of kdnas. The learning
rate rises over the first tenth and then falls in a line, which ends lower than the inverse square
root. After each part of the training (`--parts`) the loss on the validation split is taken; the
training stops where it has not fallen for `--patience` parts. The weights of the best part and of
its neighbours, `--average` in all, are averaged. A killed training goes on where it was; a finished
one is left as it is; one with other options is refused. At the end `kdnas evaluate` gives the
scores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from command_line import a_count, in_one_line
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from kdnas import evaluate
from kdnas.distillation.losses import LOSSES
from kdnas.distillation.losses.base import WeightedLosses
from kdnas.distillation.schedule import Schedule
from kdnas.distillation.signals import NoSignal
from kdnas.distillation.training import heldout_losses, train
from kdnas.errors import KdnasError
from kdnas.files.atomic import read_json, write_json
from kdnas.runs.run_folder import difference
from kdnas.runtime.console import say
from kdnas.runtime.device import Runtime, start_runtime
from kdnas.tasks import EncodedExamples, TaskData, encode, load_data, load_spec

SPECIAL = ("<pad>", "</s>", "<unk>", "<s>")
PAD, END, UNKNOWN, BEGIN = range(len(SPECIAL))
# Options that a training may go on with others of.
OF_A_MACHINE = ("data_dir", "out", "device", "threads")


@in_one_line()
def main() -> None:
    """Trains what is missing, and prints the scores."""
    args = _arguments()
    torch.manual_seed(args.seed)
    spec = load_spec(args.task)
    if spec.task_type.name != "sequence-to-sequence":
        raise KdnasError(f"--task {args.task} is {spec.task_type.name}; give one of pairs of texts")
    folder, work = args.out.resolve(), args.out.resolve().with_name(f"{args.out.name}-work")
    work.mkdir(parents=True, exist_ok=True)
    refuse_other_options(work / "options.json", options_of(args))
    if not (folder / "config.json").exists():
        task = load_data(spec, args.data_dir, splits=("train", "validation"), optional=())
        write_json(work / "options.json", options_of(args))
        tokenizer = make_tokenizer(task, args.vocabulary, work, args.rows)
        model = new_model(args, len(tokenizer))
        runtime = start_runtime(device=args.device, threads=args.threads)
        parts = {name: encoded(task, name, tokenizer, model, args.rows) for name in task.splits}
        model.load_state_dict(trained(model, parts, args, runtime, work))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    out = folder.with_name(f"{folder.name}-scores")
    print(json.dumps(evaluate(str(folder), args.task, data_dir=args.data_dir, out=out), indent=2))


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """The options that decide what is trained."""
    return {name: value for name, value in vars(args).items() if name not in OF_A_MACHINE}


def refuse_other_options(file: Path, options: Mapping[str, Any]) -> None:
    """Raises KdnasError where a training was begun with other options.

    One from before an option was kept counts as of this one.
    """
    begun = read_json(file) or options
    for name, value in options.items():
        if (before := begun.get(name, value)) != value:
            told = difference(before, value)
            raise KdnasError(
                f"{file.parent} has another training: its --{name.replace('_', '-')} {told}; give "
                "another --out"
            )


def make_tokenizer(
    task: TaskData, size: int, work: Path, rows: int | None
) -> PreTrainedTokenizerFast:
    """A byte-level BPE of both languages; made once."""
    file = work / "tokenizer.json"
    if not file.exists():
        train_rows = task.splits["train"]
        texts = list(train_rows.text)[:rows]
        assert train_rows.labels is not None
        texts += [targets[0] for targets in train_rows.labels[:rows]]
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(SPECIAL),
            initial_alphabet=alphabet,
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", END)]
        )
        tokenizer.save(str(file))
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "bos_token": "<s>"}
    inputs = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_file=str(file), model_input_names=inputs, model_max_length=128, **names
    )


def new_model(args: argparse.Namespace, vocabulary: int) -> PreTrainedModel:
    """A Transformer with random weights; one table of words for all.

    Pegasus has its norms ahead of each part: with those behind, as BART's, six layers hardly learn
    to read the encoder at these rates.
    """
    neurons = args.ffn or 4 * args.width
    stack = {"layers": args.layers, "attention_heads": args.heads, "ffn_dim": neurons}
    both = {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in stack.items()}
    config = AutoConfig.for_model(
        args.model_type,
        **both,
        d_model=args.width,
        vocab_size=vocabulary,
        max_position_embeddings=128,
        activation_function="relu",
        scale_embedding=True,
        dropout=args.dropout,
        attention_dropout=0.0,
        activation_dropout=0.0,
        init_std=args.width**-0.5,  # with embeddings of that size times the root of the width
        pad_token_id=PAD,
        bos_token_id=BEGIN,
        eos_token_id=END,
        decoder_start_token_id=BEGIN,
        forced_eos_token_id=None,
    )
    model: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(config)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and "embed" not in name and "shared" not in name:
            torch.nn.init.xavier_uniform_(parameter)
    model.generation_config.update(max_new_tokens=96, num_beams=args.beams)
    return model


def encoded(
    task: TaskData, split: str, tokenizer: Any, model: PreTrainedModel, rows: int | None
) -> EncodedExamples:
    """The first rows of a split, or all."""
    options = task.spec.task_type.encode_options({"max_target_length": 96}, model.config)
    examples = task.splits[split]
    return encode(examples.take(range(len(examples))[:rows]), tokenizer, 96, split, options)


def trained(
    model: PreTrainedModel,
    data: dict[str, EncodedExamples],
    args: argparse.Namespace,
    runtime: Runtime,
    work: Path,
) -> dict[str, torch.Tensor]:
    """The averaged weights of the best parts of a training."""
    schedule = Schedule(args.epochs, args.lr, args.batch_size, args.seed, dropout=True)
    kind = LOSSES["task"]
    smoothed = kind(options=kind.Options.model_validate({"label_smoothing": args.smoothing}))
    known: list[float] = read_json(work / "losses.json") or []
    for part in range(len(known), args.parts):
        if _stalls(known, args.patience):
            break
        train(
            *(model, WeightedLosses({"task": (1.0, smoothed)}), data["train"], NoSignal()),
            *(schedule, runtime),
            pad_id=PAD,
            title=f"part {part + 1} of {args.parts}",
            checkpoint=work / "training.pt",
            until=(part + 1) / args.parts,
        )
        plain = WeightedLosses({"task": (1.0, kind())})
        found = heldout_losses(model, plain, data["validation"], NoSignal(), runtime, pad_id=PAD)
        save_file({k: v.cpu() for k, v in _own(model).items()}, work / f"{part}.safetensors")
        known.append(found["task"])
        write_json(work / "losses.json", known)
        say(f"part {part + 1}: validation loss {found['task']:.4f}")
    best = min(range(len(known)), key=known.__getitem__)
    first = max(0, min(best - args.average // 2, len(known) - args.average))
    chosen = range(first, min(first + args.average, len(known)))
    say(f"averaging parts {json.dumps([part + 1 for part in chosen])}; the best is {best + 1}")
    files = [load_file(work / f"{part}.safetensors") for part in chosen]
    mean = {name: torch.stack([file[name] for file in files]).mean(0) for name in files[0]}
    return {name: mean[_own_name(model, name)] for name in model.state_dict()}


def _stalls(losses: list[float], patience: int) -> bool:
    """Whether the last losses are all above the best one before."""
    return len(losses) > patience and min(losses[:-patience]) <= min(losses[-patience:])


def _own(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Weights, each shared one once."""
    return {name: v for name, v in model.state_dict().items() if _own_name(model, name) == name}


def _own_name(model: PreTrainedModel, name: str) -> str:
    """The first name of a tensor that has several."""
    state = model.state_dict()
    own = state[name].data_ptr()
    return next(str(other) for other, value in state.items() if value.data_ptr() == own)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="Folder with multi30k/.")
    parser.add_argument("--out", type=Path, required=True, help="Folder of the checkpoint.")
    parser.add_argument("--task", default="multi30k")
    parser.add_argument("--vocabulary", type=a_count, default=8000)
    parser.add_argument("--model-type", default="pegasus")
    parser.add_argument("--layers", type=a_count, default=6, help="Of each stack.")
    parser.add_argument("--width", type=a_count, default=512)
    parser.add_argument("--heads", type=a_count, default=8)
    parser.add_argument(
        "--ffn", type=a_count, help="Neurons of a layer. Default: 4 times the width."
    )
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--smoothing", type=float, default=0.1)
    parser.add_argument("--epochs", type=float, default=40)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--batch-size", type=a_count, default=256, help="Rows a step, on average.")
    parser.add_argument("--parts", type=a_count, default=20)
    parser.add_argument("--patience", type=a_count, default=4)
    parser.add_argument("--average", type=a_count, default=3)
    parser.add_argument("--beams", type=a_count, default=1, help="Of the generation config.")
    parser.add_argument("--rows", type=a_count, help="The first rows of each split alone.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device")
    parser.add_argument("--threads", type=a_count)
    return parser.parse_args()


if __name__ == "__main__":
    main()
