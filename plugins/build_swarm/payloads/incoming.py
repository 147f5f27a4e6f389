"""A JSON body with a file in base64 in it, taken apart while it arrives: memory holds one chunk of the file at a time.

`Body` finds the string of one field of the top-level object, decodes it, and gives the rest of the document (bounded)
without it. Pure: bytes in, bytes out.
"""

import binascii
import json
from enum import Enum, auto
from typing import Final

from attrs import define, field

from appliance.plugin import BadInput, TooLarge

REST_BYTES_MAX: Final = 65_536
"""Of a body without its file."""
_QUOTE: Final = 0x22
_BACKSLASH: Final = 0x5C
_ESCAPES: Final = {
    0x2F: b"/",  # some encoders write every slash so
    0x6E: b"",  # base64 programs break lines: what the alphabet does not have (RFC 2045, 6.8) is left out
    0x72: b"",
    0x74: b"",
}


@define
class Base64:
    """Decodes base64 (RFC 4648, 4) of any length piece by piece."""

    place: str
    """Of the text in its document, for errors."""
    _rest: bytes = field(default=b"", init=False)
    _is_over: bool = field(default=False, init=False)

    def feed(self, text: bytes) -> bytes:
        """Return what the text so far, and no text before, decodes to; raises `BadInput`."""
        if not text:
            return b""
        if self._is_over:
            raise self._bad("text after its padding")
        held = self._rest + text
        whole = len(held) - len(held) % 4
        self._rest = held[whole:]
        try:
            decoded = binascii.a2b_base64(held[:whole], strict_mode=True)
        except binascii.Error as error:
            raise self._bad(str(error)) from None
        self._is_over = held[:whole].endswith(b"=")
        if self._is_over and self._rest:
            raise self._bad("text after its padding")
        return decoded

    def finish(self) -> None:
        """Check that nothing is missing; raises `BadInput`."""
        if self._rest:
            raise self._bad("its length is no multiple of 4")

    def _bad(self, why: str) -> BadInput:
        return BadInput(
            f"{self.place}: not base64: {why}", field=self.place, hint="encode the file as RFC 4648, 4 says"
        )


class _Where(Enum):
    BETWEEN = auto()
    STRING = auto()
    FILE = auto()


@define
class Body:
    """Takes a JSON object apart: the base64 of one field, and the rest with an empty string in its place."""

    name: str
    """Of the field."""
    _where: _Where = field(default=_Where.BETWEEN, init=False)
    _rest: bytearray = field(factory=bytearray, init=False)
    _depth: int = field(default=0, init=False)
    _is_object: bool = field(default=False, init=False)
    _wants_key: bool = field(default=False, init=False)
    _key_starts: int = field(default=-1, init=False)
    """Where in the rest the key being read starts; -1 while none is."""
    _key: str = field(default="", init=False)
    _escape: bytes = field(default=b"", init=False)
    """A backslash and what of its sequence has come."""
    _is_careful: bool = field(default=False, init=False)
    """Whether this chunk has unusual escapes, so that the rest of it is taken from escape to escape."""
    _file: Base64 = field(init=False)
    is_found: bool = field(default=False, init=False)
    """Whether the field was there, as a string."""

    def __attrs_post_init__(self) -> None:
        self._file = Base64(f"$.{self.name}")

    def feed(self, chunk: bytes) -> bytes:
        """Return what of the file has come; raises `BadInput` and `TooLarge`."""
        made = bytearray()
        at, self._is_careful = 0, False
        while at < len(chunk):
            if self._where is _Where.FILE:
                at = self._in_file(chunk, at, made)
            else:
                self._outside(chunk[at])
                at += 1
        return bytes(made)

    def finish(self) -> bytes:
        """Return the document without the file; whether it is JSON is for its reader to say."""
        if self._where is _Where.FILE:
            raise BadInput("$: not JSON: it ends within a string", field="$")
        return bytes(self._rest.removeprefix(b"\xef\xbb\xbf"))

    # ------------------------------------------------------------ the file

    def _in_file(self, chunk: bytes, at: int, made: bytearray) -> int:
        if self._escape:
            return self._in_escape(chunk, at, made)
        end = chunk.find(b'"', at) if not self._is_careful else -1
        text = None if self._is_careful else _without_escapes(chunk[at : end if end >= 0 else len(chunk)])
        if text is None or (end >= 0 and text.endswith(b"\\")):  # that quote is no end: it is escaped
            self._is_careful = True
            return self._carefully(chunk, at, made)
        if text.endswith(b"\\"):  # the first half of an escape, whose other half is in the next chunk
            self._escape = b"\\"
        made += self._file.feed(text.removesuffix(b"\\"))
        return len(chunk) if end < 0 else self._file_ends(end)

    def _carefully(self, chunk: bytes, at: int, made: bytearray) -> int:
        """Take what comes before the next escape, whatever it is; each byte is looked at once."""
        escape = chunk.find(b"\\", at)
        end = chunk.find(b'"', at, escape if escape >= 0 else len(chunk))
        stop = end if end >= 0 else escape if escape >= 0 else len(chunk)
        made += self._file.feed(chunk[at:stop].replace(b" ", b""))
        if end >= 0:
            return self._file_ends(end)
        if escape < 0:
            return stop
        self._escape = b"\\"
        return escape + 1

    def _file_ends(self, quote: int) -> int:
        self._file.finish()
        self._where = _Where.BETWEEN
        self._keep(_QUOTE)
        return quote + 1

    def _in_escape(self, chunk: bytes, at: int, made: bytearray) -> int:
        if self._escape[1:2] == b"u":  # and four digits
            more = chunk[at : at + 6 - len(self._escape)]
            self._escape += more
            if len(self._escape) == 6:
                made += self._file.feed(self._unicode(self._escape))
                self._escape = b""
            return at + len(more)
        self._escape += chunk[at : at + 1]
        kind = self._escape[1]
        if kind != 0x75:
            # What no base64 has is passed on, so that it is refused in the words of base64.
            made += self._file.feed(_ESCAPES.get(kind, self._escape))
            self._escape = b""
        return at + 1

    def _unicode(self, escape: bytes) -> bytes:
        try:
            text = chr(int(escape[2:], 16)) if escape[2:].isalnum() else "?"
        except ValueError:
            text = "?"
        return text.encode("ascii", "replace").strip() if text != "?" else b"?"

    # ------------------------------------------------------------ around it

    def _outside(self, byte: int) -> None:
        if self._where is _Where.STRING:
            self._keep(byte)
            self._in_string(byte)
        elif byte == _QUOTE:
            self._keep(byte)
            self._string_starts()
        else:
            self._keep(byte)
            self._structure(byte)

    def _in_string(self, byte: int) -> None:
        if self._escape:
            self._escape = b""
        elif byte == _BACKSLASH:
            self._escape = b"\\"
        elif byte == _QUOTE:
            self._where = _Where.BETWEEN
            if self._key_starts >= 0:
                self._key = _text(bytes(self._rest[self._key_starts :]))
                self._key_starts = -1

    def _string_starts(self) -> None:
        is_top = self._depth == 1 and self._is_object
        if is_top and not self._wants_key and self._key == self.name:
            if self.is_found:
                raise BadInput(f"$.{self.name}: given twice", field=f"$.{self.name}")
            self.is_found = True
            self._where = _Where.FILE
            return
        self._where = _Where.STRING
        if is_top and self._wants_key:
            self._key_starts = len(self._rest) - 1

    def _structure(self, byte: int) -> None:
        if byte in b"{[":
            self._depth += 1
            if self._depth == 1:
                self._is_object = self._wants_key = byte == 0x7B
        elif byte in b"}]":
            self._depth -= 1
        elif self._depth == 1 and byte in b":,":
            self._wants_key = byte == 0x2C

    def _keep(self, byte: int) -> None:
        if len(self._rest) >= REST_BYTES_MAX:
            raise TooLarge(
                f"the body has more than {REST_BYTES_MAX} bytes besides its {self.name}",
                hint=f"send the file as base64 in {self.name}",
            )
        self._rest.append(byte)


def _without_escapes(text: bytes) -> bytes | None:
    """Return a piece of a string with its usual escapes taken care of; ``None`` where it has others.

    A backslash at its end stays there.
    """
    if b"\\" in text:
        if b"\\\\" in text:
            return None
        text = text.replace(b"\\/", b"/").replace(b"\\n", b"").replace(b"\\r", b"")
        if b"\\" in text[:-1]:
            return None
    return text.replace(b" ", b"")


def _text(raw: bytes) -> str:
    try:
        return str(json.loads(raw))
    except ValueError:
        return ""  # the reader of the rest says what is wrong with it
