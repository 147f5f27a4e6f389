"""Reads binary packages as Portage makes them (GLEP 78, gpkg), and holds them to what they say of themselves.

A package is a tar archive of ``PREFIX/gpkg-1``, ``PREFIX/metadata.tar*``, ``PREFIX/image.tar*`` and
``PREFIX/Manifest``, each but the last named with size and hashes in the Manifest, and maybe signed. Signatures are for
whoever installs: the keys are theirs. The image, which may be of any size, is hashed and never unpacked.
"""

import hashlib
import io
import re
from pathlib import Path
from typing import BinaryIO, Final

from attrs import frozen

from appliance.plugin import BadInput

from .tarwalk import BadArchive, Member, members
from .unpacking import unpack

VERSION_FILE: Final = "gpkg-1"
FILES_MAX: Final = 64
MANIFEST_BYTES_MAX: Final = 1 << 20
PACKED_METADATA_BYTES_MAX: Final = 10_000_000
"""What Portage itself takes from a binary host."""
METADATA_BYTES_MAX: Final = 16 << 20
METADATA_FILES_MAX: Final = 4096
VALUE_BYTES_MAX: Final = 1 << 20
_HASHES: Final = {"BLAKE2B": "blake2b", "SHA512": "sha512"}
"""The two that Portage wants to find, and checks, in each line of a Manifest."""
_CHUNK_BYTES: Final = 1 << 20
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_NUMBER: Final = re.compile(r"[0-9]{1,16}")
_SIGNED: Final = b"-----BEGIN PGP SIGNED MESSAGE-----"
_SIGNATURE: Final = "-----BEGIN PGP SIGNATURE-----"
_INDEXED: Final = (
    "BDEPEND BUILD_ID BUILD_TIME CHOST DEFINED_PHASES DEPEND EAPI IDEPEND IUSE KEYWORDS LICENSE PDEPEND PROPERTIES "
    "PROVIDES RDEPEND REQUIRES RESTRICT SLOT USE USER_PATCHES repository"
)
WANTED: Final = frozenset({*_INDEXED.split(), "CATEGORY", "PF"})
"""Of the metadata, what indices have, and what says which package it is."""


@frozen(kw_only=True)
class Gpkg:
    """What a binary package says of itself."""

    category: str
    pf: str
    slot: str
    metadata: dict[str, str]
    """Of `WANTED`, what is not empty; white space is folded."""
    is_signed: bool

    @property
    def build_id(self) -> int | None:
        """The build's number, where it has one."""
        said = self.metadata.get("BUILD_ID")
        return None if said is None else int(said)


def read_gpkg(path: Path) -> Gpkg:
    """Read a package and check it against its own Manifest; blocks for as long as hashing it takes.

    :raises BadInput: it is no such package, or is damaged.
    """
    try:
        with open(path, "rb") as source:
            return _read(source, path.stat().st_size)
    except BadArchive as error:
        raise BadInput(
            f"this is no intact binary package: {error}", field="body", hint="send a .gpkg.tar as Portage makes it"
        ) from None


def _read(source: BinaryIO, length: int) -> Gpkg:
    files = _files(source, length)
    if VERSION_FILE not in files or "Manifest" not in files:
        raise BadArchive("it has no gpkg-1 or no Manifest")
    metadata, suffix = _inner(files, "metadata")
    _inner(files, "image")
    manifest = _bytes_of(source, files["Manifest"], MANIFEST_BYTES_MAX)
    _check(source, files, _manifest(manifest))
    packed = _bytes_of(source, metadata, PACKED_METADATA_BYTES_MAX)
    found = _metadata(unpack(packed, suffix, most_bytes=METADATA_BYTES_MAX))
    for name in ("CATEGORY", "PF", "SLOT"):
        if not found.get(name):
            raise BadArchive(f"its metadata has no {name}")
    for name in ("BUILD_ID", "BUILD_TIME"):
        if name in found and _NUMBER.fullmatch(found[name]) is None:
            raise BadArchive(f"its {name} is no number")
    return Gpkg(
        category=found.pop("CATEGORY"),
        pf=found.pop("PF"),
        slot=found["SLOT"],
        metadata=found,
        is_signed=manifest.startswith(_SIGNED),
    )


def _files(source: BinaryIO, length: int) -> dict[str, Member]:
    """Return the files of the container by name, all below one folder."""
    files: dict[str, Member] = {}
    prefixes = set()
    for member in members(source, length, most=FILES_MAX):
        prefix, separator, name = member.name.partition("/")
        if not separator or not prefix or not name or "/" in name or prefix in {".", ".."} or name in {".", ".."}:
            raise BadArchive(f"{member.name[:100]!r} is not below one folder")
        if name in files:
            raise BadArchive(f"it has two files {name[:100]!r}")
        files[name] = member
        prefixes.add(prefix)
    if len(prefixes) > 1:
        raise BadArchive("its files are not below one folder")
    return files


def _inner(files: dict[str, Member], what: str) -> tuple[Member, str]:
    """Return an inner archive and the suffix that says how it is packed."""
    start = f"{what}.tar"
    found = [name for name in files if name.startswith(start) and not name.endswith(".sig")]
    if len(found) != 1:
        raise BadArchive(f"it has {'several' if found else 'no'} {start}")
    return files[found[0]], found[0][len(start) :]


def _bytes_of(source: BinaryIO, member: Member, most: int) -> bytes:
    if member.size > most:
        raise BadArchive(f"its {member.name.rpartition('/')[2][:40]} is larger than {most} bytes")
    source.seek(member.offset)
    return source.read(member.size)


def _manifest(data: bytes) -> dict[str, tuple[int, dict[str, str]]]:
    """Return size and hashes by the name of each file."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadArchive("its Manifest is not UTF-8") from None
    if data.startswith(_SIGNED):
        # RFC 9580, 7.1: lines of a head, an empty one, then the text.
        text = text.replace("\r\n", "\n").partition("\n\n")[2].partition(_SIGNATURE)[0]
    listed: dict[str, tuple[int, dict[str, str]]] = {}
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] != "DATA" or len(words) < 5 or len(words) % 2 == 0 or _NUMBER.fullmatch(words[2]) is None:
            raise BadArchive("a line of its Manifest is none")
        if words[1] in listed:
            raise BadArchive(f"its Manifest names {words[1][:100]!r} twice")
        listed[words[1]] = int(words[2]), dict(zip(words[3::2], words[4::2], strict=True))
    return listed


def _check(source: BinaryIO, files: dict[str, Member], listed: dict[str, tuple[int, dict[str, str]]]) -> None:
    """Hold every file to its line of the Manifest."""
    wanted = set(files) - {"Manifest"}
    if wanted != set(listed):
        name = sorted(wanted ^ set(listed))[0]
        raise BadArchive(f"{name[:100]!r} is {'not in its Manifest' if name in wanted else 'missing'}")
    for name in sorted(wanted, key=lambda one: files[one].offset):
        member, (size, said) = files[name], listed[name]
        if member.size != size:
            raise BadArchive(f"{name[:100]!r} has {member.size} bytes, not {size}")
        digests = {word: hashlib.new(algorithm) for word, algorithm in _HASHES.items()}
        source.seek(member.offset)
        left = member.size
        while left:
            chunk = source.read(min(_CHUNK_BYTES, left))
            if not chunk:
                raise BadArchive("it is cut short")
            left -= len(chunk)
            for digest in digests.values():
                digest.update(chunk)
        for word, digest in digests.items():
            if said.get(word, "").lower() != digest.hexdigest():
                raise BadArchive(f"the {word} of {name[:100]!r} is not that of its Manifest")


def _metadata(archive: bytes) -> dict[str, str]:
    """Return the wanted values of ``metadata/NAME``."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    source = io.BytesIO(archive)
    for member in members(source, len(archive), most=METADATA_FILES_MAX):
        folder, _, name = member.name.removeprefix("./").partition("/")
        if folder != "metadata" or not name or "/" in name:
            raise BadArchive(f"{member.name[:100]!r} is no metadata")
        if name in seen:
            raise BadArchive(f"its metadata has {name[:100]!r} twice")
        seen.add(name)
        if name in WANTED:
            value = " ".join(_bytes_of(source, member, VALUE_BYTES_MAX).decode("utf-8", "replace").split())
            if _CONTROL.search(value):
                raise BadArchive(f"its {name} has control characters")
            if value:
                found[name] = value
    return found
