"""The container that closes a task's network to link-local addresses (169.254.0.0/16, where clouds give keys).

The engines have no setting for this, the host's firewall is not ours, and a task that is already running would be
earlier than any rule. So a task on the bridge network gets its network from a second container, which is made first,
closes the network from the inside, says ``ready`` and then only holds it. It has the one capability that this takes
(NET_ADMIN); the task has not, and joins a network that is closed already. All of it goes through the engine's API, so
it works with Docker and Podman, here and on another host.

Its image is one file, made here: an ELF program of less than a kilobyte which sends the messages of `netlink` to the
kernel, and ends with the kernel's error number if one is refused.
"""

import io
import os
import struct
import tarfile
from hashlib import sha256
from typing import Final

from .netlink import link_local_fence

READY: Final = b"ready\n"
ARCHITECTURES: Final = frozenset({"amd64", "x86_64"})

# What the program does, in the words of an assembler (tests assemble them and compare). A table of entries follows it:
# length, protocol, messages; a length of 0 ends it.
SOURCE: Final = """\
    .intel_syntax noprefix
    .globl _start
_start:
    lea rbx, [rip + table]
next:
    mov r12d, [rbx]
    test r12d, r12d
    jz ready
    mov edi, 16
    mov esi, 3
    mov edx, [rbx + 4]
    mov eax, 41
    syscall
    test eax, eax
    js fail
    mov r13d, eax
    mov edi, eax
    lea rsi, [rbx + 8]
    mov edx, r12d
    mov eax, 1
    syscall
    test eax, eax
    js fail
    mov edi, r13d
    lea rsi, [rsp - 4096]
    mov edx, 3072
    xor eax, eax
    syscall
    test eax, eax
    js fail
    mov eax, [rsp - 4080]
    test eax, eax
    js fail
    lea rbx, [rbx + r12 + 8]
    jmp next
ready:
    mov edi, 1
    lea rsi, [rip + said]
    mov edx, 6
    mov eax, 1
    syscall
rest:
    mov eax, 34
    syscall
    jmp rest
fail:
    neg eax
    mov edi, eax
    mov eax, 60
    syscall
said:
    .ascii "ready\\n"
    .p2align 3
table:
"""
"""socket(AF_NETLINK, SOCK_RAW, protocol), write, read; then write(1, "ready"), and pause for ever."""

CODE: Final = bytes.fromhex(
    "488d1d99000000"  # _start: the table
    "448b234585e47459"  # next: its length, or ready
    "bf10000000be030000008b5304b8290000000f0585c07862"  # socket
    "4189c589c7488d73084489e2b8010000000f0585c0784b"  # write
    "4489ef488db42400f0ffffba000c000031c00f0585c07833"  # read
    "8b842410f0ffff85c078284a8d5c2308eb9f"  # the kernel's verdict; next
    "bf01000000488d3520000000ba06000000b8010000000f05"  # ready
    "b8220000000f05ebf7"  # rest
    "f7d889c7b83c0000000f05"  # fail
    "72656164790a660f1f440000"  # the word, and padding
)
_BASE: Final = 0x400000
_HEADERS_BYTES: Final = 64 + 56


def program() -> bytes:
    """Return the ELF file: one segment that is read and run, never written."""
    table = b"".join(
        struct.pack("<II", len(messages), protocol) + messages for protocol, messages in link_local_fence()
    )
    text = CODE + table + bytes(8)
    size = _HEADERS_BYTES + len(text)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)  # 64 bit, little-endian, version 1, System V
    head = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + _HEADERS_BYTES, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 4096)
    return identity + head + segment + text


def image() -> tuple[str, bytes]:
    """Return the image's repository, named for its content, and its root filesystem as a tar."""
    content = program()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = tarfile.TarInfo("fence")
        info.size, info.mode = len(content), 0o755
        tar.addfile(info, io.BytesIO(content))
    return f"localhost/appliance-fence-{sha256(content).hexdigest()[:12]}", archive.getvalue()


def refusal(exit_code: int) -> str:
    """Return in words why the fence could not be put up, from the exit code of its container."""
    known = os.strerror(exit_code) if 0 < exit_code < 128 else f"exit code {exit_code}"
    return f"the task's network cannot be closed to link-local addresses: the kernel of the engine's host says {known}"
