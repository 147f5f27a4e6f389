"""The layers of the product, enforced: a module imports from its own layer and those above it in the table."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS: tuple[tuple[str, str], ...] = (
    # Modules and packages of appliance/, lowest layer first; then the third parties that a layer adds to those below.
    ("errors units ids clock devices jobs rate generated_source", "attrs"),
    (
        "settings config log database migrations backups events host backends engines service systemd data_folder "
        "commands failed_starts listeners supervise",
        "cattrs msgspec outcome structlog trio",
    ),
    (
        "credentials people inventory series ledger tasklogs taskfiles scheduler licenses local_agent audit notices "
        "prometheus",
        "argon2 cryptography psutil",
    ),
    ("contract surface frames hookspecs plugin loading panels", "pluggy quart"),
    ("http", "h11 hypercorn quart_trio wsproto"),
    ("run cli scripted_engine testing __main__", "click tomlkit httpx2"),
)
"""Every module has a row here; a new one gets one before it gets a second importer."""

RANK = {name: rank for rank, (row, _) in enumerate(LAYERS) for name in row.split()} | {"__init__": 0}
VENDORS_OF_PLUGINS = frozenset({"attrs", "cattrs", "httpx2", "msgspec", "quart", "structlog", "trio"})
VENDORS_OF_ONE_PLUGIN = {
    # zstd, which the metadata of binary packages is packed with (Python 3.14 has it); a drone measures a host that has
    # no local agent.
    "build_swarm": {"backports", "psutil"},
    "engine_docker": {"h11"},  # one request, one connection, a bound on every read: httpx2 has pools instead
    "gpu_nvidia": {"pynvml"},
    "gpu_amd": {"amdsmi"},
    "gpu_sharing": {"cryptography", "segno"},
}

CORE = sorted(path.relative_to(ROOT) for path in ROOT.glob("appliance/**/*.py"))
PLUGINS = sorted(path.relative_to(ROOT) for path in ROOT.glob("plugins/**/*.py"))
OURS = {"appliance", "plugins"}


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything a file imports, wherever in the file it does."""
    yield from imported_by((ROOT / path).read_text(), path.with_suffix("").parts)


def imported_by(source: str, package: tuple[str, ...]) -> Iterator[str]:
    """Yield what some source imports as the module with the given dotted name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def parts(name: str) -> list[str]:
    return name.split(".")


def vendors(path: Path) -> set[str]:
    """Return the third-party packages a file imports."""
    roots = {parts(name)[0] for name in imports(path)}
    return roots - set(sys.stdlib_module_names) - OURS


def top(path: Path) -> str:
    """Return the module or package of appliance/ that a file belongs to."""
    return path.parts[1].removesuffix(".py")


@pytest.mark.parametrize("path", CORE, ids=str)
def test_core_imports_only_from_its_layer_or_below(path: Path) -> None:
    assert top(path) in RANK, f"{top(path)} has no layer: give it a row in LAYERS"
    for name in imports(path):
        module = parts(name)
        if module[0] == "appliance" and len(module) > 1 and not module[1].startswith("__"):
            # Of `from appliance import x`, x is a module: the package itself defines only dunders.
            assert module[1] in RANK, f"{path} imports {name}, which has no layer"
            assert RANK[module[1]] <= RANK[top(path)], f"{path} reaches up for {name}"


# loading.py finds the shipped plugins through the package that holds them; it knows none of them by name.
@pytest.mark.parametrize("path", CORE, ids=str)
def test_core_knows_no_plugin(path: Path) -> None:
    known = {
        name for name in imports(path) if parts(name)[0] == "plugins" and name not in {"plugins", "plugins.__path__"}
    }
    assert known == set()


@pytest.mark.parametrize("path", CORE, ids=str)
def test_core_imports_only_the_third_parties_of_its_layer(path: Path) -> None:
    allowed = {vendor for _, row in LAYERS[: RANK.get(top(path), 0) + 1] for vendor in row.split()}
    assert vendors(path) <= allowed, f"{path} imports {sorted(vendors(path) - allowed)}"


@pytest.mark.parametrize("path", PLUGINS, ids=str)
def test_plugins_import_only_the_public_module_and_their_own_files(path: Path) -> None:
    own = [part.removesuffix(".py") for part in path.parts[:2]]
    for name in imports(path):
        if parts(name)[0] in OURS:
            assert parts(name)[:2] in (["appliance", "plugin"], own), f"{path} goes behind the contract: {name}"


@pytest.mark.parametrize("path", PLUGINS, ids=str)
def test_plugins_import_only_the_third_parties_they_may(path: Path) -> None:
    allowed = VENDORS_OF_PLUGINS | VENDORS_OF_ONE_PLUGIN.get(top(path), set())
    assert vendors(path) <= allowed, f"{path} imports {sorted(vendors(path) - allowed)}"


def test_table_names_only_modules_that_are_there() -> None:
    assert set(RANK) - {top(path) for path in CORE} == set()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import appliance.http.app", "appliance.http.app"),
        ("from appliance.http import app", "appliance.http.app"),
        ("from appliance import http", "appliance.http"),
        ("from .http import app", "appliance.http.app"),
        ("def late():\n    from appliance.run import serve", "appliance.run.serve"),
    ],
)
def test_every_way_to_import_is_seen(source: str, name: str) -> None:
    assert list(imported_by(source, ("appliance", "errors"))) == [name]
