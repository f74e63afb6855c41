"""How one option is written, and the limits that several share."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

# Limits that several options share, here and in stages. Seeds are added to, below 2**32.
MOST_SEED = 2**31 - 1
MOST_TRIALS = 1_000_000
MOST_FINAL_SEEDS = 100
MOST_FINALISTS = 100
MOST_ROWS = 1_000_000_000
MOST_TOKENS = 65_536
MOST_THREADS = 1024
MOST_SECONDS = 7 * 24 * 3600


class Options(BaseModel):
    """The options of one panel of --help."""

    model_config = ConfigDict(
        extra="forbid", validate_default=True, frozen=True, allow_inf_nan=False
    )
    panel: ClassVar[str]


def setting(
    default: Any,
    description: str,
    *,
    main: bool = False,
    form: str | None = None,
    may_be_empty: bool = False,
    **limits: Any,
) -> Any:
    """One option: its default and its help text.

    Args:
        main: Whether a person needs it in the first week; --help then shows it.
        form: What stands for its value in help, such as URL; default: by its type, such as INT.
        may_be_empty: Whether a text without a letter means something else than the default.
    """
    extra: JsonDict = {"main": main, "form": form, "may_be_empty": may_be_empty}
    return Field(default, description=description, json_schema_extra=extra, **limits)
