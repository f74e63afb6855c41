"""What parts of a report are made of: typed fields, with the decimals that are written."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    WrapSerializer,
)

from kdnas.space import AnyArchitecture
from kdnas.space.architecture import OWN_SIZES

# Without the noise of sums, and no more: people read it with 4 digits, and it might read otherwise
# if it had been rounded to 5 before.
Score = Annotated[float, AfterValidator(partial(round, ndigits=10))]
# Decimals that are written.
Ratio = Annotated[float, AfterValidator(partial(round, ndigits=3))]
Seconds = Annotated[float, AfterValidator(partial(round, ndigits=2))]
Interval = tuple[float, float]


def _fields(shape: AnyArchitecture, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
    """A shape's fields; a size of heads or of embeddings where it is their own."""
    return {name: value for name, value in whole(shape).items() if value or name not in OWN_SIZES}


Shape = Annotated[AnyArchitecture, WrapSerializer(_fields)]


class Part(BaseModel):
    """A part of the report; unknown keys are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
