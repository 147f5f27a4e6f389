"""A configuration file, read and parsed."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from appliance.config.structure import found
from appliance.errors import BadConfiguration, ConfigProblem

FILE_MAX_BYTES: Final = 1_048_576
_SYNTAX: Final = re.compile(r"^(?P<text>.*?) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")


@frozen(kw_only=True)
class Document:
    """A configuration file, parsed but not yet understood."""

    file: str = ""
    """Its path; empty when there is none."""
    text: str = ""
    table: Mapping[str, Any] = field(factory=dict)

    @property
    def disabled(self) -> frozenset[str]:
        """Plugins that the file turns off."""
        plugins = self.table.get("plugins")
        if not isinstance(plugins, Mapping):
            return frozenset()
        return frozenset(
            name for name, one in plugins.items() if isinstance(one, Mapping) and one.get("enabled") is False
        )


def read_document(path: Path | None) -> Document:
    """Read and parse a file; ``None`` is an empty one.

    :raises BadConfiguration: it cannot be read or is no TOML; of syntax errors only the first can be had.
    """
    if path is None:
        return Document()
    try:
        with path.open("rb") as file:
            content = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error), "a file that can be read") from error
    if len(content) > FILE_MAX_BYTES:
        raise _unreadable(path, "a larger file", f"at most {FILE_MAX_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _unreadable(path, "bytes that are no UTF-8", "text in UTF-8", line) from error
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        match = _SYNTAX.match(str(error))
        line = int(match["line"]) if match and match["line"] else len(text.splitlines())
        reason = match["text"] if match else str(error) or type(error).__name__
        lines = text.splitlines()
        shown = lines[line - 1].strip() if 0 < line <= len(lines) else ""
        raise _unreadable(path, found(shown), f"TOML ({reason})", line) from error
    return Document(file=str(path), text=text, table=table)


def _unreadable(path: Path, what: str, expected: str, line: int | None = None) -> BadConfiguration:
    return BadConfiguration((ConfigProblem(file=str(path), line=line, key="file", found=what, expected=expected),))
