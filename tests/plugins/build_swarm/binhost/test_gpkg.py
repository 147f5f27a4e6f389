import os
import tarfile
from pathlib import Path

import pytest
from backports import zstd

from appliance.plugin import BadInput
from plugins.build_swarm.binhost import gpkg as reading
from plugins.build_swarm.binhost.gpkg import Gpkg, read_gpkg
from tests.plugins.build_swarm.binhost import packages
from tests.plugins.build_swarm.binhost.packages import container_of, gpkg, inner_files, manifest_of, written
from tests.plugins.build_swarm.binhost.portage import Portage


def refused(folder: Path, data: bytes) -> str:
    with pytest.raises(BadInput, match="no intact binary package") as failure:
        read_gpkg(written(folder, data))
    return failure.value.message


@pytest.mark.parametrize("suffix", sorted(packages.PACKERS))
def test_package_is_read_however_its_metadata_is_packed(tmp_path: Path, suffix: str) -> None:
    found = read_gpkg(written(tmp_path, gpkg("app-test/hello-1.0-r1", suffix=suffix, RDEPEND=" a/b \n\t c/d ")))
    assert (found.category, found.pf, found.slot, found.build_id) == ("app-test", "hello-1.0-r1", "0", 1)
    assert found.metadata["RDEPEND"] == "a/b c/d"
    assert "environment.bz2" not in found.metadata
    assert not found.is_signed


def test_packages_of_portage_are_read(built: Portage) -> None:
    found: dict[str, Gpkg] = {}
    for path in sorted(built.pkgdir.rglob("*.gpkg.tar")):
        one = read_gpkg(path)
        found[f"{one.category}/{one.pf}"] = one
    assert sorted(found) == ["app-test/hello-1.0-r1", "app-test/world-2"]
    hello = found["app-test/hello-1.0-r1"]
    assert hello.metadata["CHOST"] == "x86_64-pc-linux-gnu"
    assert (hello.metadata["repository"], hello.metadata["USE"], hello.build_id) == ("test", "extra", 1)
    assert found["app-test/world-2"].slot == "0/2"


def test_signed_manifest_is_read_and_told(tmp_path: Path) -> None:
    files = inner_files() | {"metadata.tar.zst.sig": b"a signature", "image.tar.zst.sig": b"another"}
    signed = (
        b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n"
        + manifest_of(files)
        + b"-----BEGIN PGP SIGNATURE-----\n\nabcdef\n-----END PGP SIGNATURE-----\n"
    )
    assert read_gpkg(written(tmp_path, container_of(files | {"Manifest": signed}))).is_signed


def test_file_that_differs_from_its_manifest_is_refused(tmp_path: Path) -> None:
    files = inner_files()
    manifest = {"Manifest": manifest_of(files)}
    assert "BLAKE2B of 'image.tar.zst'" in refused(
        tmp_path, container_of(files | manifest | {"image.tar.zst": b"an imagf"})
    )
    assert "has 9 bytes, not 8" in refused(tmp_path, container_of(files | manifest | {"image.tar.zst": b"an image!"}))
    changed = inner_files(SLOT="1")
    assert "'metadata.tar.zst'" in refused(tmp_path, container_of(changed | manifest))


def test_file_that_only_one_of_container_and_manifest_has_is_refused(tmp_path: Path) -> None:
    files = inner_files()
    assert "'extra' is not in its Manifest" in refused(
        tmp_path, container_of(files | {"extra": b"x", "Manifest": manifest_of(files)})
    )
    assert "'extra' is missing" in refused(
        tmp_path, container_of(files | {"Manifest": manifest_of(files | {"extra": b"x"})})
    )


def test_manifest_without_either_hash_is_refused(tmp_path: Path) -> None:
    files = inner_files()
    for word in (b"BLAKE2B", b"SHA512"):
        weak = manifest_of(files).replace(word, b"CRC32")
        assert word.decode() in refused(tmp_path, container_of(files | {"Manifest": weak}))


@pytest.mark.parametrize("gone", ["gpkg-1", "Manifest", "metadata.tar.zst", "image.tar.zst"])
def test_package_that_lacks_a_part_is_refused(tmp_path: Path, gone: str) -> None:
    files = inner_files()
    whole = files | {"Manifest": manifest_of({name: data for name, data in files.items() if name != gone})}
    del whole[gone]
    assert "it has no" in refused(tmp_path, container_of(whole))


def test_package_with_two_metadata_archives_is_refused(tmp_path: Path) -> None:
    files = inner_files() | {"metadata.tar": packages.metadata_tar("app-test/evil-1")}
    assert "several metadata.tar" in refused(tmp_path, container_of(files | {"Manifest": manifest_of(files)}))


def test_package_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    files = inner_files()
    whole = container_of(files | {"Manifest": manifest_of(files)})
    twice = packages.tar_of({"hello-1.0-1/gpkg-1": b""})[:512] + whole
    assert "two files 'gpkg-1'" in refused(tmp_path, twice)


@pytest.mark.parametrize("name", ["gpkg-1", "a/b/gpkg-1", "/gpkg-1", "../gpkg-1", "other/x"])
def test_package_whose_files_are_not_below_one_folder_is_refused(tmp_path: Path, name: str) -> None:
    files = inner_files()
    whole = container_of(files | {"Manifest": manifest_of(files)})
    assert "below one folder" in refused(tmp_path, packages.tar_of({name: b""})[:512] + whole)


def test_metadata_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    for suffix, pack in packages.PACKERS.items():
        if suffix:
            bomb = pack(bytes(reading.METADATA_BYTES_MAX + 4096))
            files = {"gpkg-1": b"", f"metadata.tar{suffix}": bomb, "image.tar": b""}
            said = refused(tmp_path, container_of(files | {"Manifest": manifest_of(files)}))
            assert f"unpacks to more than {reading.METADATA_BYTES_MAX} bytes" in said


def test_metadata_that_wants_an_absurd_window_is_refused(tmp_path: Path) -> None:
    options = {zstd.CompressionParameter.window_log: 31, zstd.CompressionParameter.content_size_flag: 0}
    packer = zstd.ZstdCompressor(options=options)
    # Without its size in the frame, the window is what the head says.
    bomb = packer.compress(packages.metadata_tar(), mode=packer.FLUSH_BLOCK) + packer.flush()
    files = {"gpkg-1": b"", "metadata.tar.zst": bomb, "image.tar": b""}
    assert "cannot be unpacked" in refused(tmp_path, container_of(files | {"Manifest": manifest_of(files)}))


@pytest.mark.parametrize("suffix", [".lz4", ".lz", ".lzo", ".exe"])
def test_packing_that_is_not_taken_is_named(tmp_path: Path, suffix: str) -> None:
    files = {"gpkg-1": b"", f"metadata.tar{suffix}": b"junk", f"image.tar{suffix}": b""}
    assert "its metadata is packed" in refused(tmp_path, container_of(files | {"Manifest": manifest_of(files)}))


@pytest.mark.parametrize("gone", ["CATEGORY", "PF", "SLOT"])
def test_metadata_that_does_not_say_what_it_is_of_is_refused(tmp_path: Path, gone: str) -> None:
    assert f"has no {gone}" in refused(tmp_path, gpkg(**{gone: ""}))


@pytest.mark.parametrize("said", ["x", "-1", "\u00b2", "\u0661", "1" * 17])
@pytest.mark.parametrize("key", ["BUILD_ID", "BUILD_TIME"])
def test_number_of_a_build_that_is_none_is_refused(tmp_path: Path, key: str, said: str) -> None:
    assert f"its {key} is no number" in refused(tmp_path, gpkg(**{key: said}))


@pytest.mark.parametrize(
    "line", [b"DATA x", b"MISC x 1 BLAKE2B a SHA512 b", b"DATA x \xc2\xb2 BLAKE2B a SHA512 b", b"\xff"]
)
def test_manifest_with_a_line_that_is_none_is_refused(tmp_path: Path, line: bytes) -> None:
    files = inner_files()
    assert "its Manifest" in refused(tmp_path, container_of(files | {"Manifest": manifest_of(files) + line + b"\n"}))


def test_metadata_with_control_characters_is_refused(tmp_path: Path) -> None:
    assert "control characters" in refused(tmp_path, gpkg(USE="a\x00b"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.DIRTYPE])
def test_metadata_with_links_or_folders_is_refused(tmp_path: Path, kind: bytes) -> None:
    inner = bytearray(packages.metadata_tar())
    inner[156:157] = kind
    inner[148:156] = b" " * 8
    inner[148:156] = b"%06o\0 " % sum(inner[:512])
    files = {"gpkg-1": b"", "metadata.tar": bytes(inner), "image.tar": b""}
    assert "no regular file" in refused(tmp_path, container_of(files | {"Manifest": manifest_of(files)}))


def test_package_that_is_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = gpkg(image=os.urandom(3000))
    for length in (0, 100, 512, 1500, len(data) // 2, 5000):
        refused(tmp_path, data[:length])


def test_bytes_of_a_file_that_are_changed_anywhere_are_found(tmp_path: Path) -> None:
    data = bytearray(gpkg(image=b"i" * 600))
    place = data.index(b"i" * 600)
    data[place + 300] ^= 1
    assert "image.tar.zst" in refused(tmp_path, bytes(data))
