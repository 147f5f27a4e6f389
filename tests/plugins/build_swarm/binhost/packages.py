"""Binary packages made by hand: right ones, and ones that are wrong in a way that a test chooses."""

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from backports import zstd

PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}
CPV = "app-test/hello-1.0"
METADATA = {
    "BUILD_ID": "1",
    "BUILD_TIME": "1795280893",
    "CHOST": "x86_64-pc-linux-gnu",
    "EAPI": "8",
    "SLOT": "0",
    "USE": "extra",
    "repository": "test",
    "environment.bz2": "not of the index",
}


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """Return a ustar archive of regular files."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def metadata_tar(cpv: str = CPV, **values: str) -> bytes:
    """Return the inner archive of metadata."""
    category, _, pf = cpv.partition("/")
    said = METADATA | {"CATEGORY": category, "PF": pf} | values
    return tar_of({f"metadata/{key}": f"{value}\n".encode() for key, value in said.items() if value})


def manifest_of(files: Mapping[str, bytes]) -> bytes:
    """Return the Manifest of a container's files."""
    lines = []
    for name, data in files.items():
        blake2b, sha512 = hashlib.blake2b(data).hexdigest(), hashlib.sha512(data).hexdigest()
        lines.append(f"DATA {name} {len(data)} BLAKE2B {blake2b} SHA512 {sha512}\n")
    return "".join(lines).encode()


def inner_files(cpv: str = CPV, *, suffix: str = ".zst", image: bytes = b"an image", **values: str) -> dict[str, bytes]:
    """Return the files of a container, but for its Manifest."""
    return {
        "gpkg-1": b"",
        f"metadata.tar{suffix}": PACKERS[suffix](metadata_tar(cpv, **values)),
        f"image.tar{suffix}": image,
    }


def container_of(files: Mapping[str, bytes], prefix: str = "hello-1.0-1") -> bytes:
    """Return a container of these files, as they are."""
    return tar_of({f"{prefix}/{name}": data for name, data in files.items()})


def gpkg(cpv: str = CPV, *, suffix: str = ".zst", image: bytes = b"an image", **values: str) -> bytes:
    """Return a binary package; ``values`` are of its metadata."""
    files = inner_files(cpv, suffix=suffix, image=image, **values)
    return container_of(files | {"Manifest": manifest_of(files)}, cpv.partition("/")[2])


def sha256(data: bytes) -> str:
    """Return the hash that an upload says."""
    return hashlib.sha256(data).hexdigest()


def written(folder: Path, data: bytes) -> Path:
    """Write a package where a reader finds it."""
    path = folder / "package.gpkg.tar"
    path.write_bytes(data)
    return path


def digest(name: str, data: bytes) -> str:
    """Return a hash that an index has."""
    return hashlib.new(name, data, usedforsecurity=False).hexdigest()
