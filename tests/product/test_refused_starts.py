"""Starts that must not happen say why, what to do, and nothing a programmer would have to read."""

import socket
from pathlib import Path

import pytest

from tests.product.served import Product, product

pytestmark = pytest.mark.zipapp


def test_second_process_on_a_data_directory_is_refused_with_the_pid_of_the_first(shared: Product) -> None:
    second = Product(shared.pyz, shared.folder)
    status, said = second.refused()
    assert status == 1
    assert f"is in use by process {shared.process.pid}" in said
    assert "hint:" in said
    assert "Traceback" not in said
    assert shared.get("/readyz").json()["ready"] is True


def test_busy_port_names_its_holder_and_suggests_another(fresh: Product, shared: Product) -> None:
    status, said = fresh.refused(f"127.0.0.1:{shared.port}")
    assert status == 1
    assert f"(pid {shared.process.pid}, " in said
    assert "--listen 127.0.0.1:" in said
    assert "Traceback" not in said


def test_broken_configuration_is_told_by_file_and_line_with_status_2(fresh: Product) -> None:
    fresh.config.write_text("[devices]\nsample_seconds = 'often'\n[server]\nunknown_key = 1\n")
    status, said = fresh.refused()
    assert status == 2
    assert f"{fresh.config}:2" in said
    assert f"{fresh.config}:4" in said
    assert "Traceback" not in said


def test_data_directory_open_to_others_is_refused_with_the_command_that_mends_it(fresh: Product) -> None:
    fresh.data.mkdir()
    fresh.data.chmod(0o755)
    status, said = fresh.refused()
    assert status == 1
    assert f"chmod 700 {fresh.data}" in said
    assert "Traceback" not in said


def test_missing_required_plugin_refuses_the_start_by_name(fresh: Product) -> None:
    fresh.config.write_text('[loading]\nrequired = ["fan"]\n')
    status, said = fresh.refused()
    assert status == 1
    assert "fan" in said
    assert "Traceback" not in said


def test_refused_starts_do_not_lead_to_safe_mode(fresh: Product) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        for _ in range(4):
            assert fresh.refused(f"127.0.0.1:{busy.getsockname()[1]}")[0] == 1
    fresh.start()
    assert "SAFE MODE" not in "\n".join(fresh.said)


def test_database_that_is_no_database_is_told_in_words(pyz: Path, tmp_path: Path) -> None:
    with product(pyz, tmp_path) as one:
        one.data.mkdir(mode=0o700)
        (one.data / "appliance.db").write_bytes(b"not a database at all\n" * 1000)
        status, said = one.refused()
    assert status == 1
    assert "appliance.db" in said
    assert "Traceback" not in said
