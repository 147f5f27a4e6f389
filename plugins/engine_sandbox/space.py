"""The file system of its own that a task with a size to write gets.

Its keeper makes it, and mounts it where nobody else sees it; so it goes when the last of the task's processes does.
Once the task has ended, a helper of ours mounts it again in the same way and lends us a descriptor of what it holds.
"""

from typing import Any, Final

from attrs import frozen

from appliance.plugin import Host

MIB_MIN: Final = 4
"""Less is no file system."""
INODES_PER_MIB: Final = 64
MAKE_OPTIONS: Final = ("-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", "-m", "0", "-b", "4096")


@frozen(kw_only=True)
class SpaceMaker:
    """The programs that make and mount a file system."""

    make: str
    mount: str

    def request(self, mib: int, uid: int, folders: tuple[str, ...]) -> dict[str, Any]:
        """Return what the keeper is told."""
        size = max(MIB_MIN, mib)
        inodes = ("-N", str(max(128, size * INODES_PER_MIB)))
        return {
            "mib": size,
            "uid": uid,
            "folders": folders,
            "make": [self.make, *MAKE_OPTIONS, *inodes],
            "mount": self.mount,
        }


def find_space_maker(host: Host) -> SpaceMaker | None:
    """Return how to make file systems here; ``None`` where that cannot be."""
    programs = [_program(host, name) for name in ("mkfs.ext4", "mount")]
    if None in programs or not host.path("/dev/loop-control").exists():
        return None
    make, mount = (str(each) for each in programs)
    return SpaceMaker(make=make, mount=mount)


def _program(host: Host, name: str) -> str | None:
    found = host.find_program(name)
    if found is not None:
        return found
    path = host.path(f"/usr/sbin/{name}")  # not on everybody's PATH
    return str(path) if path.exists() else None
