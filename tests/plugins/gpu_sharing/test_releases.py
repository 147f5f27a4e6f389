"""The mirror's folder: what is served, in which order, and that nothing is ever served half or wrongly described."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from appliance.plugin import BadInput, NotFound
from plugins.gpu_sharing.releases import Release, Releases, described, shown
from plugins.gpu_sharing.wire import iso_of

CONTENT = b"\x7fELF" + bytes(1000)


@pytest.fixture
def mirror(tmp_path: Path) -> Releases:
    return Releases(tmp_path / "releases")


def wanted(name: str = "libaccelerator.so", **given: Any) -> Release:
    said: dict[str, Any] = {
        "name": name,
        "vendor": "nvidia",
        "version": "1.2.3",
        "type_": "vgpu-library",
        "os_name": "linux",
        "arch": "amd64",
        "added_unix_us": 1_795_000_000_000_000,
    }
    return described(**said | given)


async def add(mirror: Releases, name: str = "libaccelerator.so", content: bytes = CONTENT, **given: Any) -> Release:
    source = mirror.folder.parent / "source"
    source.write_bytes(content)
    return await mirror.add(source, wanted(name, **given))


async def test_file_is_copied_with_its_hash_and_read_again_by_another_run(mirror: Releases) -> None:
    assert mirror.all() == []
    made = await add(mirror)
    assert (made.sha256, made.size_bytes) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    for one in (mirror, Releases(mirror.folder)):
        assert one.all() == [made]
        found, path = one.named("libaccelerator.so")
        assert (found, path.read_bytes()) == (made, CONTENT)
    assert sorted(path.name for path in mirror.folder.iterdir()) == ["libaccelerator.so", "libaccelerator.so.json"]


async def test_release_of_the_same_name_is_replaced(mirror: Releases) -> None:
    await add(mirror)
    made = await add(mirror, content=b"new", version="2.0.0")
    assert mirror.all() == [made]
    assert mirror.named(made.name)[1].read_bytes() == b"new"


async def test_copy_that_fails_leaves_what_was_there(mirror: Releases) -> None:
    made = await add(mirror)
    for path in ("nowhere", ".", "a\0b"):
        with pytest.raises(BadInput):
            await mirror.add(mirror.folder.parent / path, wanted(version="9.9.9"))
    pipe = mirror.folder.parent / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(BadInput):
        await mirror.add(pipe, wanted(version="9.9.9"))
    assert mirror.all() == [made]
    assert mirror.named(made.name)[1].read_bytes() == CONTENT
    assert sorted(each.name for each in mirror.folder.iterdir()) == [made.name, f"{made.name}.json"]


async def test_removed_release_is_gone_with_its_description(mirror: Releases) -> None:
    await add(mirror)
    mirror.remove("libaccelerator.so")
    assert (mirror.all(), list(mirror.folder.iterdir())) == ([], [])
    for ask in (mirror.remove, mirror.named):
        with pytest.raises(NotFound):
            ask("libaccelerator.so")


async def test_what_its_description_does_not_fit_is_not_served(mirror: Releases) -> None:
    made = await add(mirror)
    path = mirror.folder / made.name
    description = json.loads((mirror.folder / f"{made.name}.json").read_text())
    wrongs: list[Any] = [
        description | {"name": "other"},
        description | {"name": "../../etc/passwd"},
        description | {"size_bytes": made.size_bytes + 1},
        description | {"vendor": "NVIDIA Corp"},
        description | {"version": "latest"},
        description | {"type": "virus"},
        description | {"sha256": "0"},
        {**description, "size_bytes": "many"},
        [],
        None,
    ]
    for wrong in wrongs:
        (mirror.folder / f"{made.name}.json").write_text(json.dumps(wrong))
        assert Releases(mirror.folder).all() == [], wrong
    (mirror.folder / f"{made.name}.json").write_bytes(b"\xff{")
    assert Releases(mirror.folder).all() == []
    (mirror.folder / f"{made.name}.json").write_text(json.dumps(description))
    assert len(Releases(mirror.folder).all()) == 1
    path.unlink()
    assert Releases(mirror.folder).all() == []
    path.symlink_to("/etc/passwd")
    assert Releases(mirror.folder).all() == []


async def test_file_without_a_description_is_not_served(mirror: Releases) -> None:
    await add(mirror)
    (mirror.folder / "stray.so").write_bytes(b"x")
    assert [each.name for each in Releases(mirror.folder).all()] == ["libaccelerator.so"]
    with pytest.raises(NotFound):
        mirror.named("stray.so")


async def test_versions_are_ordered_as_semver_has_it(mirror: Releases) -> None:
    # The order of https://semver.org/#spec-item-11, with numbers that a text would sort otherwise.
    versions = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"]
    versions += ["1.0.0-rc.1", "1.0.0", "1.2.0", "1.10.0", "10.0.0"]
    for number, version in enumerate(sorted(versions)):
        await add(mirror, f"file-{number}", version=version)
    assert [each.version for each in mirror.all()] == versions[::-1]


async def test_newest_is_found_for_each_type_and_system(mirror: Releases) -> None:
    await add(mirror, "a", type_="cli", version="1.0.0")
    newest = await add(mirror, "b", type_="cli", version="1.1.0")
    arm = await add(mirror, "c", type_="cli", version="0.9.0", arch="arm64")
    await add(mirror, "d", type_="cli", version="9.0.0", os_name="darwin")
    assert mirror.newest("cli") == newest
    assert mirror.newest("cli", arch="arm64") == arm
    assert mirror.newest("remote-gpu-worker") is None


@pytest.mark.parametrize(
    ("field", "text"),
    [
        *(("name", text) for text in ("", "..", ".hidden", "a/b", "a\\b", "a\nb", "é", "a b", "x" * 129, "$(id)")),
        *(("version", text) for text in ("", "1", "1.2", "1.2.3+build", "v1.2.3", "1.2.3-", "1.2.3\n", "9" * 5000)),
        *(("vendor", text) for text in ("", "NVIDIA", "a b", "-x", "x" * 33)),
    ],
)
def test_what_cannot_be_said_of_a_file_is_refused_by_field(field: str, text: str) -> None:
    with pytest.raises(BadInput) as raised:
        wanted(**{field: text})
    assert raised.value.field == f"$.{field}"


async def test_description_is_no_release(mirror: Releases) -> None:
    with pytest.raises(BadInput):
        await add(mirror, "x.json")


async def test_newest_of_each_vendor_and_type_is_the_latest(mirror: Releases) -> None:
    await add(mirror, "a", version="1.0.0")
    await add(mirror, "b", version="2.0.0")
    await add(mirror, "c", version="1.5.0", vendor="amd")
    items = shown(mirror.all(), "http://box:1", iso_of)
    assert [(each["version"], each["vendor"]["slug"], each["isLatest"]) for each in items] == [
        ("2.0.0", "nvidia", True),
        ("1.5.0", "amd", True),
        ("1.0.0", "nvidia", False),
    ]
    assert items[0]["artifacts"][0]["url"] == "http://box:1/api/ecosystem/releases/files/b"
    assert items[0]["releaseDate"] == "2026-11-18T11:06:40Z"
