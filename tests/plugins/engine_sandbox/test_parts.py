"""The smaller parts: the log's pieces, GPUs of a scripted host, removal, and the program that keeps tasks."""

import io
import os
import signal
from pathlib import Path

import pytest

from appliance.engines import EngineLost, LaunchFailed, LogChunk
from appliance.host import Host
from plugins.engine_sandbox.gpus import access, driver_libraries, has_gpus
from plugins.engine_sandbox.logs import LogReader
from plugins.engine_sandbox.noting import FRAME
from plugins.engine_sandbox.records import folder_name
from plugins.engine_sandbox.removing import remove_tree
from plugins.engine_sandbox.spawning import Spawner


def piece(number: int, data: bytes) -> bytes:
    return FRAME.pack(number, len(data), 0) + data


def test_pieces_of_a_log_are_read_once_they_are_whole() -> None:
    whole = piece(1, b"one") + piece(2, b"two") + piece(1, b"three")
    file = io.BytesIO()
    reader = LogReader(file)
    found = []
    for place in range(len(whole)):
        file.seek(0, os.SEEK_END)
        file.write(whole[place : place + 1])
        found += list(reader.more())
    assert found == [
        LogChunk(stream="stdout", data=b"one"),
        LogChunk(stream="stderr", data=b"two"),
        LogChunk(stream="stdout", data=b"three"),
    ]


def test_what_is_known_of_a_log_is_left_out_across_pieces() -> None:
    file = io.BytesIO(piece(1, b"one") + piece(2, b"two") + piece(1, b"three"))
    found = list(LogReader(file, {"stdout": 5}).more())
    assert found == [LogChunk(stream="stderr", data=b"two"), LogChunk(stream="stdout", data=b"ree")]


@pytest.mark.parametrize("broken", [FRAME.pack(3, 1, 0) + b"x", FRAME.pack(1, (1 << 20) + 1, 0), b"\xff" * 64])
def test_log_that_is_none_is_read_no_further(broken: bytes) -> None:
    reader = LogReader(io.BytesIO(piece(1, b"one") + broken + piece(1, b"two")))
    assert [chunk.data for chunk in reader.more()] == [b"one"]
    assert reader.is_broken
    assert list(reader.more()) == []


def gpu_host(tmp_path: Path) -> Host:
    """Return a host with two NVIDIA GPUs and two of AMD."""
    for number, name in enumerate(("0000:01:00.0", "0000:02:00.0")):
        folder = tmp_path / "proc/driver/nvidia/gpus" / name
        folder.mkdir(parents=True)
        words = f"Model: \t NVIDIA H200\nGPU UUID: \t GPU-aaaa{number}\nDevice Minor: \t {number + 4}\n"
        (folder / "information").write_text(words)
    for node, unique in (("renderD128", "00f0e1d2c3b4a596"), ("renderD129", "0000000000000000")):
        device = tmp_path / "sys/devices" / f"0000:0{node[-1]}:00.0"
        device.mkdir(parents=True)
        (device / "vendor").write_text("0x1002\n")
        (device / "unique_id").write_text(unique)
        (tmp_path / "sys/class/drm" / node).mkdir(parents=True)
        (tmp_path / "sys/class/drm" / node / "device").symlink_to(device)
    (tmp_path / "dev/dri").mkdir(parents=True)
    for name in ("nvidiactl", "nvidia-uvm", "kfd"):
        (tmp_path / "dev" / name).touch()
    return Host(root=tmp_path)


def test_task_gets_the_files_of_its_gpus_and_no_others(tmp_path: Path) -> None:
    host = gpu_host(tmp_path)
    assert has_gpus(host)
    found = access(host, ("GPU-aaaa1",))
    assert found.files == ("/dev/nvidia5", "/dev/nvidiactl", "/dev/nvidia-uvm")
    assert found.variables["CUDA_VISIBLE_DEVICES"] == found.variables["NVIDIA_VISIBLE_DEVICES"] == "GPU-aaaa1"
    assert access(host, ("AMD-00f0e1d2c3b4a596",)).files == ("/dev/dri/renderD128", "/dev/kfd")
    assert access(host, ("AMD-0000:09:00.0",)).files == ("/dev/dri/renderD129", "/dev/kfd")
    none = access(host, ())
    assert (none.files, none.variables["CUDA_VISIBLE_DEVICES"], none.variables["NVIDIA_VISIBLE_DEVICES"]) == (
        (),
        "",
        "void",
    )


@pytest.mark.parametrize("gpu_id", ["GPU-none", "AMD-none", "MIG-1234"])
def test_gpu_that_cannot_be_bound_is_refused(tmp_path: Path, gpu_id: str) -> None:
    with pytest.raises(LaunchFailed, match=gpu_id):
        access(gpu_host(tmp_path), (gpu_id,))


def test_host_without_a_driver_has_no_gpus(tmp_path: Path) -> None:
    assert not has_gpus(Host(root=tmp_path))


def test_only_the_drivers_own_libraries_are_taken() -> None:
    listing = (
        "2 libs found in cache `/etc/ld.so.cache'\n"
        "\tlibcuda.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libcuda.so.1\n"
        "\tlibcuda.so.1 (libc6) => /lib/i386-linux-gnu/libcuda.so.1\n"
        "\tlibcudart.so.12 (libc6,x86-64) => /usr/local/cuda/lib64/libcudart.so.12\n"
        "\tlibnvidia-ml.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libnvidia-ml.so.1\n"
    )
    assert driver_libraries(listing) == {
        "libcuda.so.1": "/lib/x86_64-linux-gnu/libcuda.so.1",
        "libnvidia-ml.so.1": "/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    }


def test_folder_is_removed_with_all_that_is_in_it_and_nothing_that_it_names(tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "kept").mkdir(parents=True)
    doomed = tmp_path / "doomed"
    deep = doomed / "deep"
    deep.mkdir(parents=True)
    (doomed / "link").symlink_to(other)
    (deep / "link").symlink_to(other / "kept")
    os.mkfifo(deep / "pipe")
    (deep / "shut").mkdir(mode=0)
    (doomed / ".doomed").mkdir()
    (doomed / ".doomed" / "0").mkdir()
    at = os.open(deep, os.O_RDONLY)
    for _ in range(1200):  # beyond what recursion could do
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    remove_tree(doomed)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["kept", "other"]
    remove_tree(doomed)
    (tmp_path / "lone").symlink_to(other)
    remove_tree(tmp_path / "lone")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("attempt_id", ["../x", "", ".", "a/b", "ä", "x" * 101, "-x", "a\0b", "\udcff"])
def test_folder_of_an_attempt_with_an_odd_id_is_named_by_a_hash(attempt_id: str) -> None:
    assert folder_name(attempt_id).startswith("id-")
    assert len(folder_name(attempt_id)) == 67
    assert folder_name("task-1.1") == "task-1.1"


async def test_program_that_keeps_tasks_is_started_anew_and_ends_with_us(tmp_path: Path) -> None:
    spawner = Spawner(log=tmp_path / "log")
    first = None
    for _ in range(2):
        with pytest.raises(EngineLost):  # there is no such folder, so its keeper cannot say anything
            await spawner.ask({"folder": str(tmp_path / "none")})
        assert spawner.pid not in (None, first)
        first = spawner.pid or 0
        os.kill(first, signal.SIGKILL)
    spawner.close()
    assert spawner.pid is None
    assert b"No such file" in (tmp_path / "log").read_bytes()
    with pytest.raises(ProcessLookupError):
        os.kill(first or 0, 0)
