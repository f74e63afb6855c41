"""The name of a recipe, and what differs from it: `relations@0.3@logits=2`.

Behind an @ stands how many times its learning rates a recipe has, or a loss with how many times its
weight. The signs mean nothing to shells, YAML, lists with commas and names of files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kdnas.errors import KdnasError
from kdnas.runtime.shown import quoted

# A path may have an @, too: what differs stands behind the ending of a file.
NAMED = re.compile(r"(?P<base>.*\.ya?ml|[^@]*)(?P<changes>(?:@[^@/\\]*)*)", re.IGNORECASE)


@dataclass(frozen=True)
class RecipeName:
    """A recipe by name or file, and what differs from it. As text it has one spelling.

    Attributes:
        base: The name, or the path of the file.
        rate: How many times its learning rates.
        weights: By loss, how many times its weight; by name in order.
    """

    base: str
    rate: float = 1.0
    weights: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, word: str) -> RecipeName:
        """The name that a word spells; whether there is such a recipe is not looked up.

        Raises:
            KdnasError: Behind an @ stands something else than a number above 0 or a loss with one,
                or the same twice.
        """
        match = NAMED.fullmatch(word.strip())
        if match is None:
            return cls(word.strip())
        base, changes = match["base"], match["changes"].split("@")[1:]
        rates = [change for change in changes if "=" not in change]
        rate = _factor(rates[0]) if rates else 1.0
        if rate is None or len(rates) > 1:
            raise KdnasError(
                f"invalid recipe {quoted(word)}: expected one number above 0 behind the @, such as "
                f"{base}@0.3, or losses with one each, such as {base}@logits=2"
            )
        weights: dict[str, float] = {}
        for change in changes:
            if "=" in change:
                loss, factor = _weight(change, word)
                if loss in weights:
                    raise KdnasError(
                        f"invalid recipe {quoted(word)}: {loss} stands there twice; give each loss "
                        "one number"
                    )
                weights[loss] = factor
        return cls(base, rate, dict(sorted(weights.items())))

    @property
    def changes(self) -> str:
        """What stands behind the name: `@0.3@logits=2`; nothing where all is as in the recipe."""
        rate = f"@{self.rate:g}" if self.rate != 1 else ""
        weights = (f"@{loss}={factor:g}" for loss, factor in self.weights.items() if factor != 1)
        return "".join([rate, *weights])

    def __str__(self) -> str:
        return f"{self.base}{self.changes}"

    @property
    def is_file(self) -> bool:
        """Whether it is the path of a file rather than a name."""
        return Path(self.base).suffix.lower() in (".yaml", ".yml")

    @property
    def short(self) -> str:
        """The name, without folder and ending where it is a file's."""
        stem = Path(self.base).stem.replace("@", "-") if self.is_file else self.base
        return f"{stem}{self.changes}"

    def check_losses(self, losses: Collection[str]) -> None:
        """Refuses weights of losses that the recipe does not have.

        Args:
            losses: Those that it has.

        Raises:
            KdnasError: Names the first one, and those that there are.
        """
        for loss in self.weights:
            if loss not in losses:
                raise KdnasError(
                    f"invalid recipe {quoted(str(self))}: {self.base} has no loss {quoted(loss)}; "
                    f"it has {', '.join(dict.fromkeys(losses))}"
                )


def _weight(change: str, word: str) -> tuple[str, float]:
    """A loss, and how many times its weight."""
    name, _, number = change.partition("=")
    loss, factor = name.strip().lower().replace("_", "-"), _factor(number)
    if factor is None:
        raise KdnasError(
            f"invalid recipe {quoted(word)}: expected a number above 0 behind {loss}=, by which "
            f"the weight of that loss is multiplied, such as {loss}=2"
        )
    return loss, factor


def _factor(text: str) -> float | None:
    """A number above 0, with as many digits as the name will have; None where it is none."""
    try:
        factor = float(f"{float(text):g}")
    except ValueError:
        return None
    return factor if 0 < factor < math.inf else None
