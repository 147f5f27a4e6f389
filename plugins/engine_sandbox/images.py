"""Images of this engine: root file systems, each a folder ``images/NAME`` with a few words beside it."""

import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Final

import msgspec
import trio
from attrs import define, field, frozen

from appliance.plugin import BadInput, Conflict, EndReason, LaunchFailed, NotFound, Now, TooLarge

from .extracting import Caps, extract
from .removing import remove_tree

HOST: Final = "host"
"""The image that is this host's own system."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,62})?")
IMAGES_MAX: Final = 1000
FRAMING_BYTES: Final = 1 << 20
"""What an archive may have besides its files, and as much again as these: the heads of small ones are as large."""


@frozen(kw_only=True)
class Image:
    """One image."""

    name: str
    files: int = 0
    size_bytes: int = 0
    imported_at_unix_us: int = 0
    command: str = ""
    """What is run for a task without a command; empty: such a task is refused."""


@define(eq=False)
class Images:
    """The folder of images."""

    folder: Path
    caps: Caps
    now: Now
    _busy: set[str] = field(factory=set, init=False)

    def all(self) -> list[Image]:
        """Return every image that was imported, by name."""
        if not self.folder.is_dir():
            return []
        found = (self._read(entry.name) for entry in os.scandir(self.folder) if not entry.name.startswith("."))
        return sorted((image for image in found if image is not None), key=lambda image: image.name)

    def has(self, name: str) -> bool:
        """Whether there is such an image."""
        return name == HOST or (NAME.fullmatch(name) is not None and (self._path(name) / "image.json").is_file())

    def named(self, name: str) -> tuple[Image, Path | None]:
        """Return an image and its root, ``None`` for the host's own; raises `LaunchFailed` when there is none."""
        if name == HOST:
            return Image(name=HOST), None
        found = self._read(name.replace(":", "@")) if NAME.fullmatch(name) else None
        if found is None:
            known = ", ".join([HOST, *(image.name for image in self.all())])
            raise LaunchFailed(
                f"there is no image {name[:100]!r}", reason=EndReason.IMAGE, hint=f"there are: {known[:1000]}"
            )
        return found, self._path(name) / "rootfs"

    async def receive(self, name: str, chunks: AsyncIterator[bytes], *, command: str = "") -> Image:
        """Import an archive as it arrives; see `add`."""
        self._check(name)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        # A file without a name: whatever happens, nothing is left of it.
        with tempfile.TemporaryFile(dir=self.folder) as spool:
            size = 0
            async for chunk in chunks:
                size += len(chunk)
                if size > 2 * self.caps.bytes_max + FRAMING_BYTES:
                    raise TooLarge(f"an image has at most {self.caps.bytes_max} bytes", hint="raise image_bytes_max")
                await trio.to_thread.run_sync(spool.write, chunk)
            spool.seek(0)
            return await self.add(name, spool, command=command)

    def _check(self, name: str) -> None:
        if not NAME.fullmatch(name) or name == HOST:
            raise BadInput(f"{name[:100]!r} cannot be the name of an image", hint="such as busybox or busybox:1.36")
        if len(self.all()) >= IMAGES_MAX:
            raise BadInput(f"there are {IMAGES_MAX} images already", hint="appliance image remove NAME")
        if self._path(name).exists() or name in self._busy:
            raise Conflict(f"there is an image {name!r} already", hint=f"appliance image remove {name}")

    async def add(self, name: str, source: IO[bytes], *, command: str = "") -> Image:
        """Import the tar archive of a root file system.

        :raises BadInput: the name or the archive cannot be taken.
        :raises Conflict: there is an image of that name.
        """
        self._check(name)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if not self._busy:
            await trio.to_thread.run_sync(self._sweep)
        self._busy.add(name)
        is_wanted = [True]
        try:
            return await trio.to_thread.run_sync(self._add, name, source, command, lambda: is_wanted[0])
        finally:
            is_wanted[0] = False
            self._busy.discard(name)

    def _add(self, name: str, source: IO[bytes], command: str, is_wanted: Callable[[], bool]) -> Image:
        partial = self.folder / f".{self._path(name).name}.new"
        remove_tree(partial)
        (partial / "rootfs").mkdir(mode=0o755, parents=True)
        os.chmod(partial / "rootfs", 0o755)  # noqa: S103 (a task sees it as another user; its parent is ours alone)
        try:
            found = extract(source, str(partial / "rootfs"), self.caps, is_wanted)
            image = Image(
                name=name,
                files=found.files,
                size_bytes=found.bytes,
                imported_at_unix_us=self.now(),
                command=command,
            )
            (partial / "image.json").write_bytes(msgspec.json.encode(image))
            partial.rename(self._path(name))
        except BaseException:
            remove_tree(partial)
            raise
        return image

    async def remove(self, name: str) -> None:
        """Remove an image; tasks that run in it keep what they have open and miss the rest."""
        if not NAME.fullmatch(name) or name in self._busy or self._read(self._path(name).name) is None:
            raise NotFound("image", name[:100], hint="appliance image list")
        doomed = self.folder / f".{self._path(name).name}.gone"
        self._busy.add(name)
        try:
            await trio.to_thread.run_sync(remove_tree, doomed)
            self._path(name).rename(doomed)
            await trio.to_thread.run_sync(remove_tree, doomed)
        finally:
            self._busy.discard(name)

    def _sweep(self) -> None:
        """Remove what interrupted imports and removals have left."""
        for entry in list(os.scandir(self.folder)):
            if entry.name.startswith("."):
                remove_tree(Path(entry.path))

    def _path(self, name: str) -> Path:
        return self.folder / name.replace(":", "@")

    def _read(self, folder_name: str) -> Image | None:
        try:
            return msgspec.json.decode((self.folder / folder_name / "image.json").read_bytes(), type=Image)
        except (OSError, msgspec.DecodeError):
            return None
