"""Amounts as clients write them: JSON numbers, or the same in strings, since edited form fields arrive as text."""

import math
import re
from typing import Final

from appliance.plugin import BadInput

MIB_PER_GB: Final = 1024
"""A documented GB is what the document's own executor gives a container: 1024 MiB."""
MILLI: Final = 1000
CORES_MAX: Final = 100_000
GB_MAX: Final = 1_000_000
GPUS_MAX: Final = 10_000
K_MIN: Final = 1.5
K_MAX: Final = 2.5
K_DEFAULT: Final = 2.0

Sent = float | str | None
"""A number, the same as text, or nothing."""

_NUMBER: Final = re.compile(r"[-+]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,3})?")


def number(sent: Sent, name: str) -> float | None:
    """Return what a client sent for field ``name`` as a finite number; ``None`` for nothing, null and ``""``.

    :raises BadInput: it is none; the field is named.
    """
    if sent is None:
        return None
    if isinstance(sent, str):
        text = sent.strip()
        if not text:
            return None
        if _NUMBER.fullmatch(text) is None:
            raise wrong(name, "a number")
        sent = float(text)
    if not math.isfinite(sent):
        raise wrong(name, "a finite number")
    return float(sent)


def amount(sent: Sent, name: str, *, most: float, default: float | None = None, positive: bool = False) -> float:
    """Return an amount of something within its bounds.

    :param most: the largest that is taken for meant.
    :param default: for what was not sent; without one the field is required.
    :param positive: whether 0 is refused: no limit at all would be set for it.
    :raises BadInput: the field is missing, or out of bounds; it is named.
    """
    found = number(sent, name)
    if found is None:
        if default is None:
            raise BadInput(f"$.{name}: missing, and required", field=f"$.{name}")
        found = default
    if found < 0 or (positive and found == 0):
        raise wrong(name, "more than 0" if positive else "0 or more")
    if found > most:
        raise wrong(name, f"at most {most:,.0f}".replace(",", " "))
    return found


def k_value(sent: Sent) -> int:
    """Return thousandths of the factor k, which is documented to lie between 1.5 and 2.5; 2.0 when not sent."""
    found = number(sent, "k_value")
    if found is None:
        found = K_DEFAULT
    if not K_MIN <= found <= K_MAX:
        raise wrong("k_value", f"{K_MIN} to {K_MAX}")
    return round(found * MILLI)


def scaled(value: float, factor: int) -> int:
    """Return ``value * factor`` as an integer, never less than asked for.

    What floats add by themselves (0.57 * 1000 = 570.0000000000001) is no part of what was asked.
    """
    return math.ceil(round(value * factor, 6))


def wrong(name: str, expected: str) -> BadInput:
    """Return the failure of a field, with its name."""
    return BadInput(f"$.{name}: expected {expected}", field=f"$.{name}")
