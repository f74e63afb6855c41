"""Where a checkpoint is, and whether a folder can be one: known before transformers is loaded."""

from __future__ import annotations

from pathlib import Path

from kdnas.errors import KdnasError
from kdnas.runtime.shown import quoted, shown

# Endings of files with weights that transformers loads.
WEIGHTS = (".safetensors", ".bin")


def is_local(name: str) -> bool:
    """Whether a name means a folder here, even one that is gone; else it is a hub's id."""
    path = Path(name)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or path.exists():
        return True
    return path.parent != Path() and path.parent.is_dir()


def check_checkpoint(name: str) -> None:
    """Raises KdnasError where a name is no hub id, and no folder here that holds a checkpoint."""
    path = Path(name)
    if not is_local(name):
        _check_hub_id(name)
        return
    if not path.is_dir():
        what = (
            f"{quoted(name)} is a file"
            if path.exists()
            else f"folder {quoted(name)} does not exist"
        )
        raise KdnasError(f"{what}; give a checkpoint's folder or a hub id")
    if not (path / "config.json").is_file():
        inner = path / "student"
        hint = (
            f"did you mean {shown(inner)}?"
            if (inner / "config.json").is_file()
            else "give a folder that save_pretrained wrote model and tokenizer to"
        )
        raise KdnasError(f"{quoted(name)} has no config.json; {hint}")
    if not any(file.suffix in WEIGHTS for file in path.iterdir()) and any(path.rglob("*.onnx")):
        raise KdnasError(
            f"{quoted(name)} holds ONNX files alone; its README.md says how they run, kdnas takes "
            "the run or checkpoint that they were made of"
        )


def _check_hub_id(name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        raise KdnasError(
            f"{quoted(name)} is no folder here and no hub id, such as roberta-base or org/model"
        ) from None
