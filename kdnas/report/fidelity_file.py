"""RUN/fidelity.json as it is read: as `kdnas fidelity` writes it, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdnas.files.atomic import read_json

FILE = "fidelity.json"
Finite = Annotated[float, Field(allow_inf_nan=False)]
Predictor = Literal["score", "reward", "params", "macs", "depth", "-speedup", "initial"]


class _Part(BaseModel):
    """Further keys are kept."""

    model_config = ConfigDict(extra="allow")


class _Student(_Part):
    trial: int | None
    label: str
    params: int
    macs: int
    speedup: Finite
    loss: Finite
    final: Annotated[dict[str, Finite], Field(min_length=1)]


class _Row(_Part):
    tau: Finite | None
    tau_interval: tuple[Finite, Finite] | None
    rho: Finite | None
    rho_interval: tuple[Finite, Finite] | None
    n: int


class _Rows(_Part):
    all: dict[Predictor, _Row]
    better_half: dict[Predictor, _Row]


class _Content(_Part):
    metric: str
    students: Annotated[list[_Student], Field(min_length=1)]
    statistics: _Rows


def read_fidelity(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """The content of a run's fidelity.json, and what is wrong with it.

    Returns:
        The content, None where the file is missing or is not as kdnas writes it; of the latter a
        sentence, else an empty string.
    """
    path = folder / FILE
    if not path.exists():
        return None, ""
    content = read_json(path)
    try:
        return _Content.model_validate(content).model_dump(), ""
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        wrong = f"{place}: {first['msg']}" if place else "it is damaged"
        return None, f"{FILE} is left out, for it is not as kdnas fidelity writes it ({wrong})."
