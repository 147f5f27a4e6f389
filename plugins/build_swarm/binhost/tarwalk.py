"""Reads the heads of tar archives that nobody vouches for.

Containers of binary packages are simple: a few regular files with short names (GLEP 78). So only those are taken;
links, devices, folders, sparse files and heads of absurd size are refused, and no head makes us read or keep more than
the bounds say. The formats are ustar, GNU (long names, sizes in base 256) and pax (POSIX.1-2001: path and size).
"""

from collections.abc import Iterator
from typing import BinaryIO, Final

from attrs import frozen

BLOCK: Final = 512
_EXTRA_BYTES_MAX: Final = 65_536
"""Of a long name or a pax head."""
_REGULAR: Final = frozenset({b"0", b"\0", b"7"})
_SIZE_MAX: Final = 1 << 45


class BadArchive(Exception):
    """It is no archive of the kind that is expected; the text says why."""


@frozen(kw_only=True)
class Member:
    """One regular file of an archive."""

    name: str
    size: int
    offset: int
    """Where its bytes begin."""


def members(source: BinaryIO, length: int, *, most: int) -> Iterator[Member]:
    """Yield the regular files of an archive; ``source`` may be moved in between.

    :param length: of the archive, in bytes; nothing may reach beyond it.
    :param most: how many files it may have.
    :raises BadArchive: it breaks a rule.
    """
    position, count = 0, 0
    name: str | None = None
    size: int | None = None
    extras = 0
    while True:
        block = _block(source, position, length)
        if block is None:
            return
        position += BLOCK
        kind = block[156:157]
        own = _number(block[124:136])
        if kind in {b"L", b"x"}:
            extras += 1
            if own > _EXTRA_BYTES_MAX or extras > 2:
                raise BadArchive("a head of it is too large")
            data = _bytes(source, position, own, length)
            if kind == b"L":
                name = _text(data.rstrip(b"\0"))
            else:
                path, long = _pax(data)
                name, size = path or name, size if long is None else long
        elif kind in _REGULAR:
            count += 1
            if count > most:
                raise BadArchive(f"it has more than {most} files")
            own = own if size is None else size
            member = Member(name=_name(block) if name is None else name, size=own, offset=position)
            if position + own > length:
                raise BadArchive("it is cut short")
            yield member
            name, size, extras = None, None, 0
        else:
            raise BadArchive(f"it has an entry that is no regular file (type {kind!r})")
        position += -(-own // BLOCK) * BLOCK


def _block(source: BinaryIO, position: int, length: int) -> bytes | None:
    """Return the head at ``position``; ``None`` at the end of the archive."""
    if position + BLOCK > length:
        if position == 0:
            raise BadArchive("it is no tar archive")
        if position < length:
            raise BadArchive("it is cut short")
        return None
    source.seek(position)
    block = source.read(BLOCK)
    if len(block) < BLOCK:
        raise BadArchive("it is cut short")
    if not block.strip(b"\0"):
        return None
    if block[257:262] != b"ustar":
        raise BadArchive("it is no tar archive")
    said = _number(block[148:156])
    if said != sum(block) - sum(block[148:156]) + 8 * 0x20:
        raise BadArchive("the checksum of a head is wrong")
    return block


def _bytes(source: BinaryIO, position: int, size: int, length: int) -> bytes:
    if position + size > length:
        raise BadArchive("it is cut short")
    source.seek(position)
    return source.read(size)


def _number(raw: bytes) -> int:
    if raw[0] & 0x80:  # GNU: base 256, big-endian
        value = int.from_bytes(bytes((raw[0] & 0x7F,)) + raw[1:], "big")
    else:
        text = raw.split(b"\0", 1)[0].strip()
        if not all(0x30 <= byte <= 0x37 for byte in text):
            raise BadArchive("a number of a head is none")
        value = int(text or b"0", 8)
    if value > _SIZE_MAX:
        raise BadArchive("a size is absurd")
    return value


def _name(block: bytes) -> str:
    name = block[:100].split(b"\0", 1)[0]
    # GNU archives keep times where ustar has the prefix.
    prefix = b"" if block[257:265] == b"ustar  \0" else block[345:500].split(b"\0", 1)[0]
    return _text(prefix + b"/" + name if prefix else name)


def _text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BadArchive("a name is not UTF-8") from None
    if not text.isprintable():
        raise BadArchive("a name has control characters")
    return text


def _pax(data: bytes) -> tuple[str | None, int | None]:
    """Return path and size of a pax head, where it says them."""
    path: str | None = None
    size: int | None = None
    while data:
        digits, separator, _ = data.partition(b" ")
        if not separator or not digits.isdigit() or len(digits) > 6:
            raise BadArchive("a pax head is malformed")
        length = int(digits)
        record, data = data[len(digits) + 1 : length], data[length:]
        key, separator, value = record.partition(b"=")
        if length <= len(digits) + 1 or not record.endswith(b"\n") or not separator:
            raise BadArchive("a pax head is malformed")
        if key == b"path":
            path = _text(value[:-1])
        elif key == b"size":
            if not value[:-1].isdigit() or len(value) > 16:
                raise BadArchive("a size is absurd")
            size = int(value[:-1])
        elif key.startswith(b"GNU.sparse"):
            raise BadArchive("it has a sparse file")
    return path, size
