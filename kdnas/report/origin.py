"""What is known of a student's teacher: its hub id, its licence, its language."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCard
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from kdnas.files.atomic import read_json
from kdnas.tasks import embedded_teacher
from kdnas.teachers.load import EMBEDDED_NAME

CARD = "README.md"
SECONDS = 3.0
# The trainer of transformers names folders so, and configs remember them.
CHECKPOINT = re.compile(r"(^|/)checkpoint-\d+$")


@dataclass(frozen=True)
class Origin:
    """Where a student comes from; None for what is not known.

    Attributes:
        base_model: Hub id of the teacher, or of what a local teacher was trained from.
        licence: As the teacher's card says.
        language: Likewise.
    """

    base_model: str | None
    licence: str | None
    language: str | list[str] | None


def origin_of(teacher: str) -> Origin:
    """Reads a teacher's card and config.

    Args:
        teacher: A hub id, or a local folder.
    """
    folder = Path(teacher)
    local = folder.is_dir() or folder.is_absolute()
    if local:
        data = _card_in(folder)
        name = (read_json(folder / "config.json") or {}).get("_name_or_path")
    else:
        data, name = _card_of(teacher), teacher
    base = next(filter(_is_hub_id, (data.get("base_model"), name)), None) if local else name
    return Origin(base if _is_hub_id(base) else None, data.get("license"), data.get("language"))


def _is_hub_id(name: Any) -> bool:
    """Whether a name can be one: `bert-base-uncased` or `org/model`, and no local folder."""
    if not isinstance(name, str) or not name or Path(name).exists():
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") <= 1 and not CHECKPOINT.search(name)


def _card_of(teacher: str) -> dict[str, Any]:
    """What the card of a hub model says: that of the installed package, or the hub's."""
    try:
        if teacher == EMBEDDED_NAME:
            return _card_in(embedded_teacher())
        info = HfApi().model_info(teacher, timeout=SECONDS)
        known: Any = info.card_data  # whose own methods carry no types
        return dict(known.to_dict()) if known else {}
    except Exception:  # no package, no network, no access: our card then says less
        return {}


def _card_in(folder: Path) -> dict[str, Any]:
    try:
        card = ModelCard.load(folder / CARD, ignore_metadata_errors=True)
        return dict(card.data.to_dict())
    except Exception:  # no card, or one by hand that the hub's reader refuses
        return {}
