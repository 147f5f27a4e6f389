"""The unmodified nvidia-ml-py over the scripted NVML."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.plugin import Host
from plugins.gpu_nvidia.backend import Nvml
from tests.nvml import scripted


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the library once and load it before nvidia-ml-py looks for it."""
    if scripted.compiler() is None:
        pytest.skip("the scripted NVML needs a C compiler")
    built = scripted.build(tmp_path_factory.mktemp("nvml"))
    scripted.load(built)
    return built


@pytest.fixture
def script(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> scripted.Script:
    """Give the script of this test."""
    path = tmp_path / "nvml.script"
    monkeypatch.setenv(scripted.VARIABLE, str(path))
    return scripted.Script(path)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Give a host without any device of its own."""
    (tmp_path / "root").mkdir()
    return Host(root=tmp_path / "root", environment={})


@pytest.fixture
def backend(script: scripted.Script, host: Host) -> Iterator[Nvml]:
    """Give a backend that is closed at the end; the test opens it."""
    made = Nvml(host)
    yield made
    made.close()
