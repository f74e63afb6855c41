"""Writing texts with an encoder-decoder, as the generation config of its checkpoint says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from kdnas.errors import KdnasError
from kdnas.tasks.sequences.targets import last_token

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import GenerationConfig

# What only sampling reads, only a search with beams, and only a cache.
_PROBABILITIES = ("top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
_SAMPLING = ("temperature", "top_k", *_PROBABILITIES)
_BEAMS = ("early_stopping", "length_penalty")
# One text for each source, as token ids alone, whatever the checkpoint returns.
PLAIN: dict[str, Any] = {"num_return_sequences": 1, "return_dict_in_generate": False}
# What asks for a way of writing that `refuse_ways` tells of; the latter but in a search with beams.
_ALWAYS = ("force_words_ids", "constraints", "stop_strings", "token_healing")
_WITHOUT_BEAMS = ("dola_layers", "prompt_lookup_num_tokens", "assistant_early_exit", "use_mtp")
_CACHE = ("cache_implementation", "cache_config")
# Turns off what has no effect in a search with beams, or with sampling, but would have without.
PLAIN_STEPS: dict[str, None] = dict.fromkeys(("penalty_alpha", *_WITHOUT_BEAMS))


def length_options(model: Any, longest: int, positions: int | None = None) -> dict[str, int]:
    """How long texts are at most, where the checkpoint's generation config is to say it otherwise.

    Args:
        model: Of transformers.
        longest: New tokens at most where it says nothing of them.
        positions: Those of the decoder, which no text exceeds, whatever it says.
    """
    own = model.generation_config
    for name, more in (("max_new_tokens", 0), ("max_length", 1)):  # the latter with the first read
        said = getattr(own, name)
        if said is not None:
            return {name: positions + more} if positions and said > positions + more else {}
    return {"max_new_tokens": min(longest, positions or longest)}


def most_new_tokens(model: Any, longest: int) -> int:
    """How many tokens a text has at most; `longest` where the generation config does not say."""
    own = model.generation_config
    given = (own.max_new_tokens, own.max_length)
    return max(1, next((int(said) for said in given if said is not None), longest))


def token_options(model: Any, first: int | None) -> dict[str, Any]:
    """Tokens that begin, end and fill texts, of those that the generation config does not name.

    Where transformers finds a generation config, it reads them there alone: without a start it
    would begin with another token, without an end write texts as long as they may be.

    Args:
        model: Of transformers.
        first: What its decoder reads first in training, by its config; None: the config does not
            say it.
    """
    from transformers import GenerationConfig

    own, usual = model.generation_config, GenerationConfig.from_model_config(model.config)
    known = {name: getattr(usual, name) for name in ("eos_token_id", "pad_token_id")}
    known["decoder_start_token_id"] = first
    return {
        name: token
        for name, token in known.items()
        if token is not None and getattr(own, name) is None
    }


def start_option(model: Any, tokenizer: Any, first: int | None) -> dict[str, int]:
    """The token that texts begin with, as their targets do in training.

    Args:
        model: Of transformers.
        tokenizer: Its own.
        first: What its decoder reads first in training, by its config; None: what ends targets.

    Raises:
        KdnasError: Its checkpoint begins them with another one.
    """
    read = last_token(tokenizer) if first is None else first
    owners = (model.generation_config, model.config)
    known = (getattr(owner, "decoder_start_token_id", None) for owner in owners)
    start = next((token for token in known if token is not None), read)
    if start not in (read, [read]):
        [begun] = tokenizer.convert_ids_to_tokens(start if isinstance(start, list) else [start])
        [trained] = tokenizer.convert_ids_to_tokens([read])
        why, language = f"{trained!r}, as its config.json says", ""
        if first is None:
            why = f"what ends targets, {trained!r}"
            language = (
                "set tokenizer.tgt_lang to the language of the targets and save the tokenizer, or "
            )
        raise KdnasError(
            f"the model begins texts with {begun!r} (decoder_start_token_id {start}), but is "
            f"trained to begin with {why}; {language}set decoder_start_token_id in "
            f"generation_config.json to {read}"
        )
    return {"decoder_start_token_id": read}


def refuse_ways(own: Any) -> None:
    """Refuses a generation config of a way of writing that needs more than a model and sources.

    Transformers 5 has some no more, but in code on the hub; others ask for a tokenizer, a second
    model or one source at a time.

    Raises:
        KdnasError: It is one.
    """
    beams = (own.num_beams or 1) > 1
    asked = {
        # Of any number of beams: pseudo-labels are searched for with several.
        "num_beam_groups": (getattr(own, "num_beam_groups", None) or 1) > 1,
        "penalty_alpha": bool(getattr(own, "penalty_alpha", None)) and not (beams or own.do_sample),
        **{name: bool(getattr(own, name, None)) for name in _ALWAYS},
        **{name: bool(getattr(own, name, None)) and not beams for name in _WITHOUT_BEAMS},
    }
    found = next((name for name, is_asked in asked.items() if is_asked), None)
    if found is None:
        return
    more = " and diversity_penalty" * (found == "num_beam_groups" and bool(own.diversity_penalty))
    raise KdnasError(
        f"the generation config of the model asks for {found} "
        f"{shorten(str(getattr(own, found)), 60)}, with which kdnas cannot write; remove "
        f"{found}{more} from its generation_config.json"
    )


def update_config(own: Any, values: Mapping[str, Any]) -> None:
    """Changes a generation config in place so that it can be saved.

    Transformers saves one with settings that have no effect as it was loaded, and refuses it once
    it is changed: they are dropped.

    Raises:
        KdnasError: It is invalid in another way.
    """
    if all(getattr(own, name) == value for name, value in values.items()):
        return
    uses: dict[tuple[str, ...], bool] = {
        _SAMPLING: bool(own.do_sample),
        _BEAMS: (own.num_beams or 1) > 1,
        _CACHE: own.use_cache is not False,
        tuple(own.extra_output_flags): bool(own.return_dict_in_generate),
    }
    for name in (name for names, used in uses.items() if not used for name in names):
        if getattr(own, name, None) is not None:
            setattr(own, name, None)
    try:
        own.update(**values)
        own.validate(strict=True)
    except ValueError as error:
        faults = " ".join(str(error).split()).removeprefix("GenerationConfig is invalid: - ")
        raise KdnasError(
            f"the generation config of the model is invalid: {shorten(faults, 200)}; mend its "
            "generation_config.json"
        ) from None


@contextmanager
def writing_by(model: Any, config: GenerationConfig) -> Iterator[None]:
    """A model writes by a generation config meanwhile."""
    before = model.generation_config
    model.generation_config = config
    try:
        yield
    finally:
        model.generation_config = before


def generated(model: Any, inputs: Mapping[str, Tensor], longest: int) -> Tensor:
    """Token ids for a batch of sources, shape (batch, tokens), the decoder's first one included.

    Beams, sampling, lengths and penalties are those of the checkpoint's generation config; of
    several returned sequences the first one counts.
    """
    read = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    own = length_options(model, longest)
    found: Tensor = model.generate(**read, **own, **PLAIN)
    return found
