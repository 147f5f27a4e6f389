"""``Packages``: what Portage reads of a binary host to know what it has.

A head of ``KEY: value`` lines, an empty line, and one such block for each package. Keys that have their usual value are
left out, as Portage leaves them out. Clients compare ``TIMESTAMP`` (and Last-Modified, which must be the same) with the
one of their copy, in whole seconds, and read no further unless ours is greater: so it has to rise with every change,
also back to an older release.
"""

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Final

from attrs import frozen

from appliance.plugin import BadInput

from .dependencies import BadDependency, reduced
from .gpkg import Gpkg

PACKAGES: Final = "Packages"
PACKED: Final = "Packages.gz"
ENTRY_BYTES_MAX: Final = 1 << 20
GZIP_LEVEL: Final = 4
"""10,000 made-up entries, 11.7 MB: 2.4 MB in 109 ms; 2.7 MB in 81 ms at level 1, 2.3 MB in 194 ms at 6."""
_REDUCED: Final = ("BDEPEND", "DEPEND", "IDEPEND", "LICENSE", "PDEPEND", "PROPERTIES", "RDEPEND", "RESTRICT")
_USUAL: Final = {"EAPI": "0", "SLOT": "0"}
_LAST: Final = {"repository": "REPO"}
"""Keys that are written by another name, and, as Portage orders them, last."""
OWN_KEYS: Final = frozenset({"PACKAGES", "TIMESTAMP", "VERSION"})
"""Of the head, what is ours to say."""
_VERSION: Final = "0"
_BUFFER_BYTES: Final = 1 << 18


@frozen(kw_only=True)
class FileFacts:
    """What an index says of the file itself."""

    path: str
    size_bytes: int
    mtime_unix_s: int
    md5: str
    sha1: str


def entry_of(package: Gpkg, facts: FileFacts) -> str:
    """Return the block of one package, without the empty line behind it.

    :raises BadInput: a dependency of it is malformed, or its metadata is absurdly large.
    """
    values = dict(package.metadata)
    use = values.get("USE", "").split()
    for key in _REDUCED:
        if key in values:
            try:
                values[key] = reduced(values[key], use)
            except BadDependency as error:
                raise BadInput(f"the {key} of this package is malformed: {error}", field="body") from None
    values |= {
        "CPV": f"{package.category}/{package.pf}",
        "MD5": facts.md5,
        "PATH": facts.path,
        "SHA1": facts.sha1,
        "SIZE": str(facts.size_bytes),
    }
    last = {name: values.pop(key, "") for key, name in _LAST.items()}
    lines = [f"{key}: {value}\n" for key, value in sorted(values.items()) if value and value != _USUAL.get(key)]
    lines.append(f"MTIME: {facts.mtime_unix_s}\n")
    lines += [f"{key}: {value}\n" for key, value in last.items() if value]
    text = "".join(lines)
    if len(text) > ENTRY_BYTES_MAX:
        raise BadInput(f"the metadata of this package has more than {ENTRY_BYTES_MAX} bytes", field="body")
    return text


def head_of(*, packages: int, timestamp: int, further: Mapping[str, str]) -> str:
    """Return the head of an index, the empty line behind it included."""
    values = {key: value for key, value in further.items() if value and key not in OWN_KEYS}
    values |= {"PACKAGES": str(packages), "TIMESTAMP": str(timestamp), "VERSION": _VERSION}
    return "".join(f"{key}: {value}\n" for key, value in sorted(values.items())) + "\n"


def write_index(folder: Path, head: str, body: Iterable[bytes], *, timestamp: int) -> None:
    """Write both forms of an index into ``folder``, durably; blocks.

    Their time of modification, which becomes Last-Modified, is the index's own.

    :param body: the packages, each with an empty line behind it, in pieces of any size.
    """
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
    with open(folder / PACKAGES, "wb") as plain, open(folder / PACKED, "wb") as packed:
        for block in chain((head.encode(),), body):
            plain.write(block)
            packed.write(packer.compress(block))
        packed.write(packer.flush())
        for file in (plain, packed):
            file.flush()
            os.utime(file.fileno(), (timestamp, timestamp))
            os.fsync(file.fileno())


def body_of_entries(entries: Iterable[str]) -> Iterator[bytes]:
    """Yield entries as an index has them, in pieces of some size."""
    buffer = bytearray()
    for entry in entries:
        buffer += entry.encode()
        buffer += b"\n"
        if len(buffer) >= _BUFFER_BYTES:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer)


def sync_folder(folder: Path) -> None:
    """Make what was renamed or linked in a folder durable; blocks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
