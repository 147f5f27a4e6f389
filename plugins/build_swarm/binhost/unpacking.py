"""Unpacks the small archives inside binary packages, in memory and within a bound."""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Final, Protocol

from .tarwalk import BadArchive

LZMA_MEMORY_BYTES: Final = 96 << 20
ZSTD_WINDOW_LOG: Final = 27
"""As much as ``zstd`` itself takes without being told otherwise: 128 MiB."""


class _Unpacker(Protocol):
    """What the decompressors of bz2, lzma and zstd have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the manners of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(data, max_length)


class _Zstd:
    """zstd's decompressor; what it cannot unpack is a `ValueError`."""

    def __init__(self) -> None:
        from backports import zstd  # a megabyte that only a host of such packages needs

        self._inner = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG})
        self._error = zstd.ZstdError

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        try:
            return self._inner.decompress(data, max_length)
        except self._error as error:
            raise ValueError(str(error)) from error


_KINDS: Final[dict[str, Callable[[], _Unpacker]]] = {
    ".gz": _Gzip,
    ".bz2": bz2.BZ2Decompressor,
    ".xz": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=LZMA_MEMORY_BYTES),
    ".zst": _Zstd,
}
_NOT_TAKEN: Final = {".lz4": "lz4", ".lz": "lzip", ".lzo": "lzop"}


def unpack(data: bytes, suffix: str, *, most_bytes: int) -> bytes:
    """Return what ``data`` unpacks to.

    :param suffix: of the file's name, which says how it is packed; empty for not at all.
    :raises BadArchive: it is damaged, unpacks to more than ``most_bytes``, or is packed in a way that we do not take.
    """
    if not suffix:
        return data
    if suffix in _NOT_TAKEN:
        raise BadArchive(f"its metadata is packed with {_NOT_TAKEN[suffix]}; set BINPKG_COMPRESS to zstd")
    make = _KINDS.get(suffix)
    if make is None:
        raise BadArchive(f"its metadata is packed in an unknown way ({suffix[:16]})")
    try:
        return _unpacked(data, make, most_bytes)
    except (OSError, EOFError, ValueError, MemoryError, zlib.error, lzma.LZMAError) as error:
        raise BadArchive(f"its metadata cannot be unpacked: {str(error)[:200]}") from error


def _unpacked(data: bytes, make: Callable[[], _Unpacker], most_bytes: int) -> bytes:
    made = bytearray()
    while data:
        one = make()
        made += one.decompress(data, most_bytes + 1 - len(made))
        if len(made) > most_bytes:
            raise BadArchive(f"its metadata unpacks to more than {most_bytes} bytes")
        if not one.eof:
            raise BadArchive("its metadata is cut short")
        data = one.unused_data  # several in a row are one, for all of these formats
        if not data.strip(b"\0"):
            break
    return bytes(made)
