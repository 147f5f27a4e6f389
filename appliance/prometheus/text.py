"""The text format itself: escaping, numbers, and families that stay together.

The format is that of https://prometheus.io/docs/instrumenting/exposition_formats/: every family of figures comes as one
group under one ``HELP`` and one ``TYPE`` line, and no two lines have the same name and labels.
"""

from collections.abc import Callable, Iterable, Sequence
from math import isnan
from typing import Final

from attrs import define, field

PLAIN: Final = frozenset({int, float, type(None)})
"""Types whose ``str`` is what the format wants, infinities and not-a-number aside, which the series never hold."""


def escaped(text: str) -> str:
    """Return a label's value as it stands between quotes; what is no Unicode text becomes question marks."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def labelled(**labels: str) -> str:
    """Return labels in braces with the space before the value; the space alone when there are none."""
    if not labels:
        return " "
    return "{" + ",".join([f'{name}="{escaped(text)}"' for name, text in labels.items()]) + "} "


def number(value: float) -> str:
    """Return any number as the format has it."""
    if isinstance(value, int):
        return str(int(value))
    value = float(value)
    if isnan(value):
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def head(name: str, words: str, kind: str) -> str:
    """Return the two lines above a family, each with the line break before it."""
    words = words.replace("\\", "\\\\").replace("\n", "\\n")
    return f"\n# HELP {name} {words}\n# TYPE {name} {kind}"


def family(name: str, words: str, kind: str, labels: Iterable[str], values: Sequence[float | None]) -> list[str]:
    """Return a family's pieces, each beginning with its line break; nothing when no value is reported.

    :param labels: of each value, by `labelled`.
    :param values: finite where they are floats.
    """
    start = f"\n{name}"
    if PLAIN.issuperset(map(type, values)):
        # The one loop that every figure of every host goes through.
        lines = [f"{start}{label}{value}" for label, value in zip(labels, values, strict=True) if value is not None]
    else:
        shown: Callable[[float], str] = number
        lines = [
            f"{start}{label}{shown(value)}" for label, value in zip(labels, values, strict=True) if value is not None
        ]
    return [head(name, words, kind), *lines] if lines else []


def text_of(pieces: Iterable[str]) -> str:
    """Join pieces that begin with their line break into whole lines."""
    parts = list(pieces)
    if not parts:
        return ""
    parts[0] = parts[0][1:]
    parts.append("\n")
    return "".join(parts)


@define(eq=False)
class Figures:
    """Collects figures one by one, in any order; each family is written once, and of equal labels the first figure."""

    _families: dict[str, dict[str, str]] = field(factory=dict)

    def add(self, name: str, words: str, value: float | None, *, kind: str = "gauge", **labels: str) -> None:
        """Add one figure; ``None`` is left out.

        :param words: what the figure is; those of the family's first figure count.
        """
        if value is None:
            return
        found = self._families.get(name)
        if found is None:
            found = self._families[name] = {"": head(name, words, kind)}
        label = labelled(**labels)
        found.setdefault(label, f"\n{name}{label}{number(value)}")

    @property
    def text(self) -> str:
        """All families, in the order of their first figures."""
        return text_of(piece for found in self._families.values() for piece in found.values())
