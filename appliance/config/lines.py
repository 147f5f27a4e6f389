"""Where in a TOML text a value stands; no parser of the standard library tells."""

import tomllib
from collections.abc import Sequence
from typing import Any

Path = Sequence[str | int]


class Lines:
    """Finds lines by parsing growing beginnings of the text.

    The shortest beginning that parses and holds a key ends its value, and the longest shorter one that parses ends
    what is before it. That is right for dotted keys, arrays of tables and values of many lines alike.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines(keepends=True)
        self._parsed: dict[int, dict[str, Any] | None] = {}

    def line_of(self, path: Path) -> int | None:
        """Return the line (from 1) on which the value at ``path`` begins, ``None`` when it is not there."""
        first, last = 1, len(self._lines)
        if not path or not _holds(self._up_to(last), path):
            return None
        while first < last:
            middle = (first + last) // 2
            if _holds(self._up_to(self._good(middle)), path):
                last = middle
            else:
                first = middle + 1
        # No shorter beginning that parses holds it: the value starts behind the longest of them.
        line = self._good(first - 1)
        while line < len(self._lines) - 1 and _is_blank(self._lines[line]):
            line += 1
        return line + 1

    def _good(self, count: int) -> int:
        """Return the greatest number of lines, up to ``count``, that parse on their own."""
        while count > 0 and self._up_to(count) is None:
            count -= 1
        return count

    def _up_to(self, count: int) -> dict[str, Any] | None:
        if count not in self._parsed:
            try:
                self._parsed[count] = tomllib.loads("".join(self._lines[:count]))
            except tomllib.TOMLDecodeError:
                self._parsed[count] = None
        return self._parsed[count]


def _is_blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _holds(document: Any, path: Path) -> bool:
    for part in path:
        if isinstance(part, int):
            if not isinstance(document, list) or part >= len(document):
                return False
        elif not isinstance(document, dict) or part not in document:
            return False
        document = document[part]
    return True
