import pytest

from appliance.plugin import BadInput
from plugins.build_swarm.binhost.names import of_atom, parse_path, split_pf


@pytest.mark.parametrize(
    ("path", "cpv", "name", "build_id"),
    [
        ("app-test/hello-1.0.gpkg.tar", "app-test/hello-1.0", "hello", None),
        ("app-test/hello-1.0-r1.gpkg.tar", "app-test/hello-1.0-r1", "hello", None),
        ("app-test/hello/hello-1.0-1.gpkg.tar", "app-test/hello-1.0", "hello", 1),
        ("app-test/hello/hello-1.0-r12-345.gpkg.tar", "app-test/hello-1.0-r12", "hello", 345),
        ("sys-libs/glibc/glibc-2.38_p5-r1-2.gpkg.tar", "sys-libs/glibc-2.38_p5-r1", "glibc", 2),
        ("dev-cpp/gtkmm/gtkmm-3.24.8b_rc1-2.gpkg.tar", "dev-cpp/gtkmm-3.24.8b_rc1", "gtkmm", 2),
        ("x11-libs/gtk+/gtk+-3.0-9.gpkg.tar", "x11-libs/gtk+-3.0", "gtk+", 9),
        (
            "media-fonts/font-adobe-100dpi/font-adobe-100dpi-1.0-1.gpkg.tar",
            "media-fonts/font-adobe-100dpi-1.0",
            None,
            1,
        ),
    ],
)
def test_path_of_either_layout_is_taken_apart(path: str, cpv: str, name: str | None, build_id: int | None) -> None:
    found = parse_path(path)
    assert (found.cpv, found.build_id) == (cpv, build_id)
    assert name is None or found.name == name


@pytest.mark.parametrize(
    "path",
    [
        "",
        "Packages",
        "hello-1.0.gpkg.tar",
        "app-test/hello.gpkg.tar",
        "app-test/hello-1.0.tbz2",
        "app-test/hello-1.0-1.gpkg.tar",
        "app-test/hello/hello-1.0.gpkg.tar",
        "app-test/hello/hello-1.0-0.gpkg.tar",
        "app-test/hello/hello-1.0-01.gpkg.tar",
        "app-test/hello/hello-1.0-1234567890.gpkg.tar",
        "app-test/other/hello-1.0-1.gpkg.tar",
        "app-test/a/b/hello-1.0-1.gpkg.tar",
        "../hello-1.0.gpkg.tar",
        "../../hello/hello-1.0-1.gpkg.tar",
        "app-test/../hello-1.0-1.gpkg.tar",
        "/app-test/hello-1.0.gpkg.tar",
        "app-test//hello-1.0-1.gpkg.tar",
        ".hidden/hello-1.0.gpkg.tar",
        "app-test/hello-1.0\0.gpkg.tar",
        "app-test/hello-1.0\n.gpkg.tar",
        "app-test/h\u00e9llo-1.0.gpkg.tar",
        "app-test/hello-\u0661.gpkg.tar",
        "app-test/" + "a" * 260 + "-1.gpkg.tar",
        "app-test/-hello-1.0.gpkg.tar",
        "app-test/hello-1.0\\..\\x-1.gpkg.tar",
    ],
)
def test_path_that_is_no_package_is_refused(path: str) -> None:
    with pytest.raises(BadInput, match="no path of a binary package") as failure:
        parse_path(path)
    assert "CATEGORY/PN/PF-BUILDID.gpkg.tar" in failure.value.hint


@pytest.mark.parametrize(
    ("atom", "found"),
    [
        ("=app-test/hello-1.0-r1", ("app-test", "hello", "hello-1.0-r1")),
        ("app-test/hello-1.0", ("app-test", "hello", "hello-1.0")),
        (">=app-test/hello-1.0:0/2=::gentoo[foo,-bar]", ("app-test", "hello", "hello-1.0")),
        ("=app-test/hello-1*", ("app-test", "hello", "hello-1")),
        ("app-test/hello", ("app-test", "hello", None)),
        ("app-test/hello:2", ("app-test", "hello", None)),
        ("@world", None),
        ("", None),
        ("a/b/c", None),
    ],
)
def test_atom_names_its_package(atom: str, found: tuple[str, str, str | None] | None) -> None:
    assert of_atom(atom) == found


def test_revision_alone_is_no_version() -> None:
    assert split_pf("foo-r1") is None
    assert split_pf("foo-1-r1") == ("foo", "1-r1")
    assert split_pf("foo-1-2") is None  # a name must not end as a version does
