import pytest

from plugins.build_swarm.binhost.names import parse_path
from plugins.build_swarm.binhost.requirement import is_meant, missing

QUEUED = 1_000


def newest(cp: str, cpv: str | None) -> int | None:
    here = {("dev-libs/a", "dev-libs/a-1.0-r2"): 2_000, ("dev-libs/old", "dev-libs/old-1"): 500}
    found = [at for (package, version), at in here.items() if package == cp and cpv in {None, version}]
    return max(found, default=None)


@pytest.mark.parametrize("atom", ["=dev-libs/a-1.0-r2", "dev-libs/a", "=dev-libs/a-1.0-r2:0::gentoo"])
def test_build_whose_binary_came_since_it_was_queued_has_it(atom: str) -> None:
    assert missing(atom, QUEUED, newest) is None


@pytest.mark.parametrize(
    ("atom", "words"),
    [
        ("=dev-libs/a-1.0", "no binary package of dev-libs/a-1.0"),
        ("=dev-libs/b-1", "no binary package of dev-libs/b-1"),
        ("dev-libs/b", "no binary package of dev-libs/b"),
        ("=dev-libs/old-1", "before this build was asked for"),
    ],
)
def test_build_without_its_binary_says_why(atom: str, words: str) -> None:
    assert words in (missing(atom, QUEUED, newest) or "")


@pytest.mark.parametrize(
    "atom",
    [
        "=virtual/libc-1",
        "virtual/libc",
        "=sys-devel/clang-rtlib-config-17",
        "=app-eselect/eselect-ruby-20231225",
        "=sec-keys/openpgp-keys-gnupg-20240709",
        "=kde-plasma/plasma-meta-5.27",
    ],
)
def test_package_that_installs_nothing_needs_no_binary(atom: str) -> None:
    assert missing(atom, QUEUED, newest) is None


def test_dummies_of_tests_are_no_exception() -> None:
    assert missing("=app-test/dummy-1", QUEUED, newest) is not None


@pytest.mark.parametrize(
    ("atom", "is_it"),
    [
        ("=app-test/hello-1.0-r1", True),
        ("app-test/hello", True),
        ("=app-test/hello-1.0", False),
        ("=app-test/world-1.0-r1", False),
        ("=dev-test/hello-1.0-r1", False),
        ("@world", False),
    ],
)
def test_path_is_meant_by_the_atom_of_its_package(atom: str, is_it: bool) -> None:
    for path in ("app-test/hello/hello-1.0-r1-3.gpkg.tar", "app-test/hello-1.0-r1.gpkg.tar"):
        assert is_meant(atom, parse_path(path)) is is_it
