"""Loading a teacher: config, tokenizer and model with a head, each checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten
from typing import Any

import torch
from huggingface_hub import constants
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import logging as transformers_logging

from kdnas.config import Settings
from kdnas.errors import KdnasError
from kdnas.files.checkpoints import check_checkpoint, is_local
from kdnas.runtime.console import say, silently
from kdnas.runtime.formatting import several
from kdnas.space import Architecture, family_of
from kdnas.space.derivation import teacher_architecture
from kdnas.space.families import FAMILIES
from kdnas.tasks import EncodedExamples, TaskSpec, TaskType, embedded_teacher, task_type_of
from kdnas.tasks.encode import padding_id
from kdnas.tasks.types import THRESHOLD, UNSCALED, LabelScale
from kdnas.teachers.head import order_outputs
from kdnas.teachers.sound import check_weights, refuse_code
from kdnas.teachers.tokenizer import (
    as_used,
    fit_embeddings,
    longest_target,
    set_vocabulary_size,
    vocabulary_size,
)
from kdnas.teachers.trained_head import has_class, has_head, mapped_outputs, order_by_names

EMBEDDED_NAME = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass
class Teacher:
    """A loaded teacher.

    Attributes:
        name: Hub id or folder.
        model: With a head for its task, in evaluation mode.
        has_head: Whether its head was trained for the task, so that its logits mean something.
        scale: What the model's outputs are to be multiplied by, and shifted by, to be in the unit
            of the labels.
        order: The checkpoint's outputs in the order of the model's; empty where it is the same.
        recorded: Whether it is a black box: its logits for the task are those that the examples
            have, and the model is the student base, whose head students begin with.
    """

    name: str
    model: PreTrainedModel
    tokenizer: Any
    has_head: bool
    scale: LabelScale = UNSCALED
    order: Sequence[int] = ()
    recorded: bool = False

    @property
    def gives_logits(self) -> bool:
        """Whether there are logits of it that mean something."""
        return self.has_head or self.recorded

    @property
    def pad_id(self) -> int:
        return padding_id(self.model.config, self.tokenizer)

    @property
    def architecture(self) -> Architecture:
        config: Any = self.model.config
        return teacher_architecture(config, family_of(config.model_type, self.name))


def name_of_teacher(settings: Settings) -> str:
    """What people call a run's teacher: hub id, folder, or of a black box the name of its file."""
    file = settings.teacher_predictions
    return file.name if file is not None else settings.teacher or EMBEDDED_NAME


def name_of_base(settings: Settings) -> str | None:
    """The hub id or folder of the student base of a black-box teacher; None for another teacher."""
    return None if settings.teacher_predictions is None else settings.base or EMBEDDED_NAME


def teacher_source(name: str | None) -> str:
    """Hub id or folder of a teacher; the embedded one for None."""
    return str(embedded_teacher()) if name is None else name


def load_config(name: str) -> Any:
    """A teacher's config.

    Raises:
        KdnasError: It cannot be found, is a decoder alone or of a family that is not supported, or
            comes with code.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    check_checkpoint(name)
    refuse_code(name, _load(PreTrainedConfig.get_config_dict, name, "config")[0], "model")
    config = _answering_plainly(_load(AutoConfig.from_pretrained, name, "config"))
    try:
        family_of(config.model_type, name)
    except KdnasError:
        if has_decoder(config) or config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            raise
        config.is_decoder = True
    if getattr(config, "is_decoder", False) and not has_decoder(config):
        raise KdnasError(
            f"{name!r} ({config.model_type}) is a decoder alone; kdnas distils encoders and "
            "encoder-decoders"
        )
    _tell_vocabulary(name, config)
    return config


def _answering_plainly(config: Any) -> Any:
    """The config, which no longer says how its model and those within answer.

    kdnas asks for hidden states and attention where it needs them, and reads outputs by name.
    """
    config.output_attentions = config.output_hidden_states = False
    config.return_dict = True
    for name in config.sub_configs:
        _answering_plainly(getattr(config, name))
    return config


def _tell_vocabulary(name: str, config: Any) -> None:
    """Gives a config of two models in one the size of their vocabulary, as their heads need it.

    Raises:
        KdnasError: They have two.
    """
    if not family_of(config.model_type, name).inner:
        return
    encoder, decoder = config.encoder.vocab_size, config.decoder.vocab_size
    if encoder != decoder:
        raise KdnasError(
            f"the encoder of {name!r} has a vocabulary of {encoder:,} and its decoder one of "
            f"{decoder:,}; kdnas reads and writes with one tokenizer: give two models of one"
        )
    config.vocab_size = decoder


def load_tokenizer(name: str) -> Any:
    """A teacher's tokenizer, set to what kdnas does with it.

    It gives no token types to a model that has one kind.

    Raises:
        KdnasError: There is none, or it comes with code.
    """
    folder = Path(name)
    files = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "bpe.codes")
    if folder.is_dir() and not any(any(folder.glob(file)) for file in files):
        raise KdnasError(
            f"{name!r} has no tokenizer (no tokenizer.json, vocab.txt, vocab.json or "
            "*.model in the folder); save one there with tokenizer.save_pretrained"
        )
    refuse_code(name, _load(get_tokenizer_config, name, "tokenizer"), "tokenizer")
    config = load_config(name)
    one_type = getattr(config, "type_vocab_size", None) == 1
    inputs = {"model_input_names": ["input_ids", "attention_mask"]} if one_type else {}
    return as_used(_load(AutoTokenizer.from_pretrained, name, "tokenizer", **inputs), config)


def reads_types(config: Any) -> bool:
    """Whether a model, or the encoder that reads for it, takes token types."""
    reader = config.encoder if family_of(config.model_type, config.model_type).inner else config
    known = MODEL_MAPPING.get(type(reader), ())
    models = known if isinstance(known, tuple) else (known,)
    return all("token_type_ids" in signature(model.forward).parameters for model in models)


def load_parts(name: str) -> tuple[Any, Any]:
    """A teacher's config and tokenizer; the config's vocabulary has all tokens that were added.

    Raises:
        KdnasError: One cannot be loaded, or they do not fit each other.
    """
    config, tokenizer = load_config(name), load_tokenizer(name)
    size = vocabulary_size(name, config, tokenizer)
    if added := size - config.vocab_size:
        say(
            f"the tokenizer of {name} has {several(added, 'token')} without an embedding in the "
            "model; they are read as unknown"
        )
        set_vocabulary_size(config, size)
    return config, tokenizer


def load_teacher(
    name: str,
    spec: TaskSpec | None,
    seed: int = 0,
    label_map: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    scored: Sequence[EncodedExamples] = (),
) -> Teacher:
    """A teacher with a head for the task: its own where it has one, else a fresh one.

    Without a task it is loaded as it was saved.

    Args:
        name: Hub id or folder.
        spec: The task.
        seed: Draws missing tensors of the head.
        label_map: The head's outputs, by name or number, in the order of the task's labels;
            default: matched by their names, else as they are.
        options: By which inputs are encoded for it; a model keeps what its users need. Texts that
            it writes are in any case no longer than its decoder has positions.
        scored: The splits that it is loaded to answer, where they are known.

    Raises:
        KdnasError: Some part cannot be loaded, the encoder does not fit its config, the label map
            does not fit the head, or the model does not fit the options.
    """
    config = load_config(name)
    tokenizer = load_tokenizer(name)
    task = spec.task_type if spec else task_type_of(config)
    check_family(name, config, task)
    order = mapped_outputs(name, config, label_map, spec) if label_map else []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = spec.head_config if spec else {}
        model, info = load_weights(
            task.auto_class.from_pretrained, name, ignore_mismatched_sizes=True, **head
        )
    model.config.architectures = [type(model).__name__]
    _settle_threshold(model, config, task, scored)
    _tell_vocabulary(name, model.config)
    fit_embeddings(model, tokenizer, vocabulary_size(name, config, tokenizer))
    if spec:
        model.config.kdnas_task_type = task.name
    task.adapt(model, options or {}, tokenizer, longest_target(model.config))
    trained = check_weights(name, model, info)
    trained &= has_head(config, spec) if spec else has_class(config, task)
    if spec and trained and not label_map:
        order = order_by_names(config, spec)
    if order:
        order_outputs(model, order)
    return Teacher(name, model.eval(), tokenizer, trained, order=order)


def _settle_threshold(
    model: Any, config: Any, task: TaskType, scored: Sequence[EncodedExamples]
) -> None:
    """Gives a checkpoint from elsewhere a threshold: that of the rows to answer, where known.

    So it answers every question of a task in which all have answers. What kdnas saved says itself
    how its outputs become answers, be it by a threshold or by none.
    """
    says = any(hasattr(config, name) for name in ("kdnas_task_type", THRESHOLD))
    if task.given_threshold is None or says:
        return
    usual = [task.usual_threshold(data) for data in scored] if scored else [task.given_threshold]
    setattr(model.config, THRESHOLD, next((one for one in usual if one is not None), None))


def has_decoder(config: Any) -> bool:
    """Whether a model is an encoder-decoder."""
    return bool(getattr(config, "is_encoder_decoder", False))


def load_weights(loader: Any, name: str, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A model in float32, and what transformers says of its tensors.

    What it computes, such as sines for positions, is not missing where a checkpoint lacks it.

    Raises:
        KdnasError: It cannot be loaded.
    """
    model, info = _load(
        loader,
        name,
        "weights",
        weights_only=True,
        dtype=torch.float32,
        output_loading_info=True,
        **options,
    )
    for part in model.modules():
        if isinstance(part, PreTrainedModel):  # some have copies of the model's config
            _answering_plainly(part.config)
    family = family_of(model.config.model_type, name)
    missing = {key for key in info["missing_keys"] if not family.computes(key)}
    return model, {**info, "missing_keys": missing}


def check_family(name: str, config: Any, task: TaskType) -> None:
    """Refuses a teacher of a family that transformers has no head of a task's type for.

    Raises:
        KdnasError: It is one, or an encoder for a task that needs a decoder, or the reverse.
    """
    if has_decoder(config) != task.needs_decoder:
        is_one, wanted = ("an encoder-decoder", "an encoder, such as bert or roberta")
        if task.needs_decoder:
            is_one, wanted = ("an encoder", "an encoder-decoder, such as bart, marian or t5")
        raise KdnasError(
            f"{name!r} ({config.model_type}) is {is_one}, and the task is {task.name}; give "
            f"{wanted}"
        )
    heads = getattr(task.auto_class, "_model_mapping", None)
    if heads is None or type(config) in heads:
        return
    named = {kind.model_type for kind in heads}
    others = ", ".join(sorted(model_type for model_type in FAMILIES if model_type in named))
    raise KdnasError(
        f"{name!r} is of the family {config.model_type!r}, for which transformers has no head for "
        f"{task.name}; give a teacher of another family: {others}"
    )


def check_general_teacher(name: str, config: Any, tokenizer: Any) -> None:
    """Refuses a general teacher whose students do not fit the task's teacher.

    Args:
        name: Hub id or folder.
        config: Of the task's teacher, as `load_parts` gives it.
        tokenizer: Likewise.

    Raises:
        KdnasError: It cannot be loaded, or differs in family, shape or vocabulary.
    """
    with silently():  # of tokens without an embedding the teacher's own reading tells
        other, words = load_parts(name)
    ours, theirs = _shape(config), _shape(other)
    for field, value in ours.items():
        if theirs[field] != value:
            raise KdnasError(
                f"--general-teacher {name!r} has {field} {theirs[field]}, the teacher {value}; "
                "give one that differs only in its training"
            )
    if words.get_vocab() != tokenizer.get_vocab():
        raise KdnasError(
            f"--general-teacher {name!r} has another vocabulary than the teacher; "
            "give one that differs only in its training"
        )
    load_teacher(name, None)  # needed only after the search, but refused before it


def with_fresh_head(teacher: Teacher, seed: int) -> Teacher:
    """The teacher's encoder with an untrained head.

    Where heads have no outputs of a task's own, as those over a vocabulary, it is kept.
    """
    if not task_type_of(teacher.model.config).has_outputs:
        return replace(teacher, model=deepcopy(teacher.model), has_head=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = type(teacher.model)(teacher.model.config)
    model.base_model.load_state_dict(teacher.model.base_model.state_dict())
    return replace(teacher, model=model.eval(), has_head=False)


def _shape(config: Any) -> dict[str, Any]:
    """What must be equal in the teachers of one student."""
    family = family_of(config.model_type, config.model_type)
    return {
        "model_type": config.model_type,
        **teacher_architecture(config, family).params,
        "embedding_size": getattr(config, "embedding_size", None),
        "vocab_size": config.vocab_size,
        "max_position_embeddings": getattr(config, "max_position_embeddings", None),
    }


# The hub's client logs each retry; our one line says how they ended.
logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def _why_not_on_the_hub(reason: str) -> tuple[str, str]:
    """Why the hub's client found nothing, and what to do."""
    if not reason.startswith("We couldn't connect"):
        return reason, "; is the hub reachable? A local folder works too"
    if constants.HF_HUB_OFFLINE:
        return (
            "it is not in the hub's cache, and HF_HUB_OFFLINE is set",
            "; unset it, or give a folder",
        )
    return (
        "the hub cannot be reached, and it is not in the cache",
        "; check the network, or give a folder",
    )


def _load(loader: Any, name: str, part: str, **options: Any) -> Any:
    if is_local(name) and not Path(name).is_dir():
        check_checkpoint(name)
    try:
        return loader(name, trust_remote_code=False, **options)
    except UnpicklingError:
        raise KdnasError(
            f"cannot load the {part} of {name!r}: its .bin file holds more than weights, "
            "which might be code; give a checkpoint in safetensors"
        ) from None
    except Exception as error:
        reason, hint = shorten(str(error), 200, placeholder=" ..."), ""
        if not Path(name).is_dir():
            reason, hint = _why_not_on_the_hub(reason)
        if reason.startswith("Unrecognized model"):  # and then all that transformers knows
            reason, hint = 'it names no model_type; add one, such as "bert"', ""
        raise KdnasError(f"cannot load the {part} of {name!r}: {reason}{hint}") from None
