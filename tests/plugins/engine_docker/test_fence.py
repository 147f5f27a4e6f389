"""The program that closes a network: what it is made of."""

import shutil
import subprocess
from pathlib import Path

import pytest

from plugins.engine_docker import fence
from plugins.engine_docker.netlink import link_local_fence


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no assembler on this machine")
def test_machine_code_is_what_its_source_says(tmp_path: Path) -> None:
    (tmp_path / "fence.S").write_text(fence.SOURCE)
    subprocess.run(["gcc", "-c", "fence.S", "-o", "fence.o"], cwd=tmp_path, check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", "fence.o", "fence.bin"], cwd=tmp_path, check=True)
    assert (tmp_path / "fence.bin").read_bytes() == fence.CODE


def test_messages_have_the_lengths_that_they_say() -> None:
    for _, messages in link_local_fence():
        offset = 0
        while offset < len(messages):
            length = int.from_bytes(messages[offset : offset + 4], "little")
            assert length >= 16
            offset += length + -length % 4
        assert offset == len(messages)


def test_image_is_named_for_its_content() -> None:
    name, archive = fence.image()
    assert fence.image() == (name, archive)
    assert name.startswith("localhost/appliance-fence-")
    assert len(archive) < 20_000


def test_refusal_of_the_kernel_is_told_in_its_words() -> None:
    assert "Operation not permitted" in fence.refusal(1)
    assert "exit code 139" in fence.refusal(139)
