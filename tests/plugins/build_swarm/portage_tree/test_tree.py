"""Versions and dependencies out of a tree's own cache."""

import os
from pathlib import Path

import pytest

from plugins.build_swarm.portage_tree.settings import TreeSettings
from plugins.build_swarm.portage_tree.tree import PortageTree, tree_of


def put(tree: Path, package: str, *, keywords: str = "amd64", slot: str = "0", **said: str) -> None:
    """Give the tree a version of a package."""
    file = tree / "metadata" / "md5-cache" / package
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = {"EAPI": "8", "KEYWORDS": keywords, "SLOT": slot, **said}
    file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))


def tree(folder: Path, *keywords: str) -> PortageTree:
    settings = TreeSettings(tree_path=str(folder), tree_keywords=keywords or ("amd64",))
    found = tree_of(settings)
    assert found is not None
    return found


async def expanded(folder: Path, atom: str, *keywords: str) -> str:
    one = tree(folder, *keywords)
    await one.prepare([atom], [])
    return one.expand(atom)


async def test_best_stable_version_is_chosen_by_order_and_not_by_spelling(tmp_path: Path) -> None:
    for version in ("1.9", "1.10", "1.10_rc1", "1.10-r1", "2.0_beta"):
        put(tmp_path, f"dev-libs/openssl-{version}", keywords="~amd64" if "beta" in version else "amd64 ~arm64")
    put(tmp_path, "dev-libs/openssl-9999", keywords="")
    put(tmp_path, "dev-libs/openssl-compat-3.0")
    assert await expanded(tmp_path, "dev-libs/openssl") == "=dev-libs/openssl-1.10-r1"
    assert await expanded(tmp_path, "dev-libs/openssl", "~amd64") == "=dev-libs/openssl-2.0_beta"
    assert await expanded(tmp_path, "dev-libs/openssl", "**") == "=dev-libs/openssl-9999"
    assert await expanded(tmp_path, "dev-libs/openssl", "arm64") == "dev-libs/openssl"
    assert await expanded(tmp_path, "dev-libs/openssl-compat") == "=dev-libs/openssl-compat-3.0"


async def test_slot_is_obeyed_and_kept(tmp_path: Path) -> None:
    put(tmp_path, "dev-lang/python-3.11.9", slot="3.11")
    put(tmp_path, "dev-lang/python-3.13.1", slot="3.13/3.13")
    assert await expanded(tmp_path, "dev-lang/python:3.11") == "=dev-lang/python-3.11.9:3.11"
    assert await expanded(tmp_path, "dev-lang/python") == "=dev-lang/python-3.13.1"


async def test_masked_versions_are_passed_over_until_the_mask_changes(tmp_path: Path) -> None:
    put(tmp_path, "a/b-1")
    put(tmp_path, "a/b-2")
    mask = tmp_path / "profiles" / "package.mask"
    mask.parent.mkdir()
    mask.write_text("# too new\n\n>=a/b-2\nc/d\n")
    one = tree(tmp_path)
    await one.prepare(["a/b"], [])
    assert one.expand("a/b") == "=a/b-1"
    mask.write_text("")
    os.utime(mask, ns=(1, 1))
    await one.prepare(["a/b"], [])
    assert one.expand("a/b") == "=a/b-2"


async def test_synchronised_tree_is_seen_without_a_restart(tmp_path: Path) -> None:
    put(tmp_path, "a/b-1")
    one = tree(tmp_path)
    await one.prepare(["a/b"], [])
    put(tmp_path, "a/b-2")
    os.utime(tmp_path / "metadata" / "md5-cache" / "a", ns=(1, 1))
    await one.prepare(["a/b"], [])
    assert one.expand("a/b") == "=a/b-2"


async def test_packages_wait_for_those_of_the_queue_that_they_need(tmp_path: Path) -> None:
    put(tmp_path, "a/app-1", DEPEND=">=a/lib-2 tools? ( a/tool )", BDEPEND="a/maker", RDEPEND="a/data a/lib")
    for name in ("lib-2.1", "lib-1", "tool-1", "maker-1", "data-1", "other-1"):
        put(tmp_path, f"a/{name}")
    one = tree(tmp_path)
    await one.prepare(["a/app", "a/lib", "=a/lib-1", "a/maker"], ["=a/data-1", "=a/other-1"])
    app = one.expand("a/app")
    assert app == "=a/app-1"
    assert one.needs(app) == ("=a/data-1", "=a/lib-1", "=a/lib-2.1", "=a/maker-1")
    assert one.needs("=a/lib-2.1") == ()
    assert one.needs("a/unknown") == ()


async def test_version_that_is_too_old_to_help_is_not_waited_for(tmp_path: Path) -> None:
    put(tmp_path, "a/app-1", DEPEND=">=a/lib-2")
    put(tmp_path, "a/lib-1")
    one = tree(tmp_path)
    await one.prepare(["=a/app-1", "=a/lib-1"], [])
    assert one.needs("=a/app-1") == ()


async def test_packages_that_need_each_other_do_not_wait_for_each_other(tmp_path: Path) -> None:
    put(tmp_path, "a/one-1", DEPEND="a/two")
    put(tmp_path, "a/two-1", RDEPEND="a/one")
    one = tree(tmp_path)
    await one.prepare(["a/one", "a/two"], [])
    assert one.needs("=a/one-1") == ("=a/two-1",)
    assert one.needs("=a/two-1") == ()


async def test_slow_tree_leaves_atoms_as_they_were_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "a/b-1")
    one = tree(tmp_path)
    one.look_seconds = -1.0
    await one.prepare(["a/b"], [])
    assert one.expand("a/b") == "a/b"
    assert one.needs("a/b") == ()


@pytest.mark.parametrize("text", ["", "\0\0\0", "KEYWORDS", "KEYWORDS=amd64 -* ~ -amd64\n" * 1000, "\xff" * 100])
async def test_broken_cache_entry_is_no_failure(tmp_path: Path, text: str) -> None:
    put(tmp_path, "a/b-1")
    put(tmp_path, "a/b-2")
    (tmp_path / "metadata" / "md5-cache" / "a" / "b-2").write_text(text, encoding="latin-1")
    assert await expanded(tmp_path, "a/b") in ("=a/b-1", "=a/b-2")


@pytest.mark.parametrize("atom", ["../../etc/passwd", "a/../../b", "a/b/c", "=a/b-1", "no-slash", "a/b[x]", ""])
async def test_atom_of_any_form_reads_nothing_outside_of_the_tree(tmp_path: Path, atom: str) -> None:
    put(tmp_path, "a/c-1")
    assert await expanded(tmp_path, atom) == atom


def test_tree_is_found_where_the_settings_say(tmp_path: Path) -> None:
    assert tree_of(TreeSettings(), usual=tmp_path) is None
    put(tmp_path, "a/b-1")
    usual = tree_of(TreeSettings(), usual=tmp_path, machine="x86_64")
    assert usual is not None
    assert usual.repository.keywords == ("amd64",)
    assert tree_of(TreeSettings(tree_path="off"), usual=tmp_path) is None
    assert tree_of(TreeSettings(tree_path=str(tmp_path / "nowhere")), usual=tmp_path) is None
    for bad in ("relative", "/a/../b", ""):
        with pytest.raises(ValueError, match="absolute path"):
            TreeSettings(tree_path=bad)
    with pytest.raises(ValueError, match="tree_keywords"):
        TreeSettings(tree_keywords=("amd 64",))
