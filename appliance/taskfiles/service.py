"""Files of all jobs below one folder: ``<job id>/input`` and ``<job id>/output-<attempt>``.

Only we write there: file by file, regular ones, by checked paths. The outputs of an attempt appear all at once, when
`FileSink.commit` gives their folder its name; the highest number counts.
"""

import errno
import json
import mimetypes
import os
import re
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Final

import trio
from attrs import asdict, frozen

from appliance.errors import BadInput, Conflict, NotFound, TooLarge
from appliance.taskfiles.paths import checked_path, create, regular

SKIPPED_MAX: Final = 100
"""So many entries that were not kept are told one by one."""
_JOB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_OUTPUT: Final = re.compile(r"output-(\d{1,9})")


@cache
def _types() -> mimetypes.MimeTypes:
    # Without the host's own table of types: the same file has the same type everywhere. Made where a file is looked
    # at: the module reads the host's table all the same, which costs a start 5 ms and half a megabyte.
    return mimetypes.MimeTypes()


@frozen(kw_only=True)
class FileLimits:
    """How much of one job's files is kept."""

    files_max: int
    bytes_max: int
    """Of all its files together."""
    free_bytes_min: int
    """Nothing more is kept when the disk has less than that left."""


@frozen(kw_only=True)
class StoredFile:
    """A file of a job."""

    path: str
    """Relative to its folder, ``/`` between parts."""
    size_bytes: int
    stored_at_unix_us: int

    @property
    def content_type(self) -> str:
        """By the file's name."""
        guessed, encoding = _types().guess_type(f"file:///{self.path.replace('%', '')}")
        return "application/octet-stream" if guessed is None or encoding else guessed


@frozen(kw_only=True)
class Skipped:
    """Something below ``/output`` that was not kept."""

    path: str
    reason: str


class TaskFiles:
    """The files of all jobs."""

    def __init__(
        self, folder: Path, *, limits: Callable[[], FileLimits], input_limits: Callable[[], FileLimits]
    ) -> None:
        """Nothing is read before it is asked for."""
        self._folder = folder
        self._limits = limits
        self._input_limits = input_limits

    def inputs(self, job_id: str) -> Path | None:
        """Return the folder of what was given to the job, ``None`` when that is nothing."""
        folder = self._of(job_id) / "input"
        return folder if folder.is_dir() else None

    async def put_input(self, job_id: str, path: str, chunks: AsyncIterator[bytes]) -> StoredFile:
        """Store a file that the job will find below ``/input``; it is there whole or not at all.

        :raises BadInput: the path is none of ours.
        :raises Conflict: there is such a file already, or one stands where a folder has to be.
        :raises TooLarge: the job's inputs would be too many or too large, or the disk is too full.
        """
        parts = checked_path(path)
        folder = self._of(job_id) / "input"
        await trio.to_thread.run_sync(_make_inputs, folder)
        limits, stored = self._input_limits(), await self._list(folder)
        if len(stored) >= limits.files_max:
            raise TooLarge(f"a task takes at most {limits.files_max} input files")
        left = limits.bytes_max - sum(file.size_bytes for file in stored)
        try:
            size = await _store(folder, parts, chunks, left, limits.free_bytes_min, mode=0o644)
        except _NoRoom as error:
            raise TooLarge(f"the input {path!r} is not kept: {error}") from None
        except (FileExistsError, NotADirectoryError):
            raise Conflict(f"there is an input {path!r} already, or a file where its folder has to be") from None
        return StoredFile(path=path, size_bytes=size, stored_at_unix_us=regular(folder, parts)[1].st_mtime_ns // 1000)

    @asynccontextmanager
    async def shared_inputs(self, job_id: str, new_job_id: str) -> AsyncIterator[None]:
        """Give a new job what was given to another one; taken back when the body fails. It takes no space."""
        given, folder = self.inputs(job_id), self._of(new_job_id)
        if given is None:
            yield
            return
        try:
            # The same files by other names: nothing ever writes to an input once it is there.
            copy = partial(shutil.copytree, given, folder / "input", copy_function=os.link)
            await trio.to_thread.run_sync(copy)
            yield
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    async def sink(self, job_id: str, attempt: int) -> "FileSink":
        """Return an empty place for the outputs of an attempt; what an unfinished one left there is gone."""
        return await trio.to_thread.run_sync(FileSink.make, self._of(job_id), attempt, self._limits())

    async def list_outputs(self, job_id: str) -> list[StoredFile]:
        """Return the job's outputs by path; none while it runs."""
        folder = await trio.to_thread.run_sync(_output, self._of(job_id))
        return [] if folder is None else await self._list(folder)

    async def list_inputs(self, job_id: str) -> list[StoredFile]:
        """Return what was given to the job, by path."""
        folder = self.inputs(job_id)
        return [] if folder is None else await self._list(folder)

    async def skipped(self, job_id: str) -> list[Skipped]:
        """Return what was not kept of the job's outputs, and why."""
        return await trio.to_thread.run_sync(_skipped, self._of(job_id))

    async def open(self, job_id: str, path: str) -> tuple[Path, StoredFile]:
        """Return where an output lies.

        :raises BadInput: the path is none of ours.
        :raises NotFound: there is no such file, or it is not a regular one.
        """
        parts = checked_path(path)
        folder = await trio.to_thread.run_sync(_output, self._of(job_id))
        if folder is None:
            raise NotFound("file", path)
        where, state = await trio.to_thread.run_sync(regular, folder, parts)
        return where, StoredFile(path=path, size_bytes=state.st_size, stored_at_unix_us=state.st_mtime_ns // 1000)

    async def remove(self, job_id: str) -> None:
        """Delete a job's outputs and inputs; nothing happens when there are none."""
        await trio.to_thread.run_sync(_remove_files, self._of(job_id))

    async def forget(self, job_id: str) -> None:
        """Delete all that is kept of a job here, its log included."""
        await trio.to_thread.run_sync(partial(shutil.rmtree, self._of(job_id), ignore_errors=True))

    def _of(self, job_id: str) -> Path:
        if not _JOB_ID.fullmatch(job_id):
            raise NotFound("task", job_id)
        return self._folder / job_id

    async def _list(self, folder: Path) -> list[StoredFile]:
        return await trio.to_thread.run_sync(lambda: sorted(_walk(folder), key=lambda file: file.path))


class FileSink:
    """Takes the outputs of one attempt, as an engine tells them; made by `TaskFiles.sink`."""

    def __init__(self, job_folder: Path, attempt: int, limits: FileLimits) -> None:
        """To be made by `make`, which empties the place."""
        self._job_folder = job_folder
        self._attempt = attempt
        self._limits = limits
        self._files = 0
        self._bytes = 0
        self._skipped: list[Skipped] = []
        self._skipped_count = 0

    @classmethod
    def make(cls, job_folder: Path, attempt: int, limits: FileLimits) -> "FileSink":
        """Make the place for the attempt's outputs; blocks."""
        sink = cls(job_folder, attempt, limits)
        shutil.rmtree(sink._incoming, ignore_errors=True)
        sink._incoming.mkdir(mode=0o700, parents=True)
        return sink

    @property
    def skipped_count(self) -> int:
        """How many entries were not kept."""
        return self._skipped_count

    async def put(self, path: str, size_bytes: int, chunks: AsyncIterator[bytes]) -> bool:
        """Keep one regular file; ``False`` when it is not kept, which `skip` has noted."""
        try:
            parts = checked_path(path)
        except BadInput as error:
            self.skip(path, error.message)
            return False
        left = self._limits.bytes_max - self._bytes
        if self._files >= self._limits.files_max:
            self.skip(path, f"more than {self._limits.files_max} files")
        elif size_bytes > left:
            self.skip(path, f"more than {self._limits.bytes_max} bytes in all")
        else:
            try:
                self._bytes += await _store(
                    self._incoming, parts, chunks, left, self._limits.free_bytes_min, mode=0o600
                )
                self._files += 1
            except _NoRoom as error:
                self.skip(path, str(error))
            except (FileExistsError, NotADirectoryError):
                self.skip(path, "another entry has this name")
            else:
                return True
        return False

    def skip(self, path: str, reason: str) -> None:
        """Note that an entry is not kept."""
        self._skipped_count += 1
        if len(self._skipped) < SKIPPED_MAX:
            shown = path.encode("utf-8", "backslashreplace").decode()[:1024]
            self._skipped.append(Skipped(path=shown, reason=reason))

    async def commit(self) -> None:
        """Make what was put the outputs of the job, in place of earlier ones; nothing happens the second time."""
        await trio.to_thread.run_sync(self._commit)

    @property
    def _incoming(self) -> Path:
        return self._job_folder / f"incoming-{self._attempt}"

    def _commit(self) -> None:
        final = self._job_folder / f"output-{self._attempt}"
        notes = [asdict(each) for each in self._skipped]
        if self._skipped_count > len(notes):
            notes.append({"path": "...", "reason": f"{self._skipped_count - len(notes)} more entries"})
        (self._job_folder / f"skipped-{self._attempt}.json").write_text(json.dumps(notes))
        if final.exists():  # taken over already, before a crash
            shutil.rmtree(self._incoming, ignore_errors=True)
        else:
            self._incoming.rename(final)
        for number, folder in _outputs(self._job_folder):
            if number < self._attempt:
                shutil.rmtree(folder, ignore_errors=True)
                (self._job_folder / f"skipped-{number}.json").unlink(missing_ok=True)


class _NoRoom(Exception):
    """A file is not kept because it is too large; the text says beside what."""


async def _store(
    folder: Path,
    parts: tuple[str, ...],
    chunks: AsyncIterator[bytes],
    bytes_max: int,
    free_bytes_min: int,
    *,
    mode: int,
) -> int:
    """Write a new file; return its size. It is not there when that fails."""
    descriptor = await trio.to_thread.run_sync(create, folder, parts, mode)
    size, whole = 0, False
    try:
        async for chunk in chunks:
            size += len(chunk)
            if size > bytes_max:
                raise _NoRoom(f"over the limit of bytes, of which {bytes_max} were left")
            if await trio.to_thread.run_sync(_write, descriptor, chunk, free_bytes_min) is None:
                raise _NoRoom("the disk is full")
        whole = True
    finally:
        os.close(descriptor)
        if not whole:
            with suppress(OSError):
                folder.joinpath(*parts).unlink()
            if isinstance(chunks, AsyncGenerator):  # left early: not to the garbage collector
                await chunks.aclose()
    return size


def _write(descriptor: int, chunk: bytes, free_bytes_min: int) -> int | None:
    """Write all of it, or return ``None`` when the disk has no room."""
    state = os.fstatvfs(descriptor)
    if state.f_bavail * state.f_frsize < free_bytes_min + len(chunk):
        return None
    left = memoryview(chunk)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            return None
        raise
    return len(chunk)


def _make_inputs(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # whatever the umask: the job reads it as another user


def _walk(folder: Path) -> Iterator[StoredFile]:
    for where, _, names in os.walk(folder):
        below = Path(where).relative_to(folder)
        for name in names:
            try:
                state = os.lstat(os.path.join(where, name))
            except FileNotFoundError:  # deleted meanwhile
                continue
            yield StoredFile(
                path=(below / name).as_posix(), size_bytes=state.st_size, stored_at_unix_us=state.st_mtime_ns // 1000
            )


def _outputs(job_folder: Path) -> list[tuple[int, Path]]:
    try:
        found = [(_OUTPUT.fullmatch(path.name), path) for path in job_folder.iterdir()]
    except FileNotFoundError:
        return []
    return sorted((int(match[1]), path) for match, path in found if match)


def _output(job_folder: Path) -> Path | None:
    """Return the folder of the outputs that count."""
    outputs = _outputs(job_folder)
    return outputs[-1][1] if outputs else None


def _skipped(job_folder: Path) -> list[Skipped]:
    outputs = _outputs(job_folder)
    try:
        notes = json.loads((job_folder / f"skipped-{outputs[-1][0]}.json").read_text()) if outputs else []
    except FileNotFoundError:
        notes = []
    return [Skipped(**note) for note in notes]


def _remove_files(job_folder: Path) -> None:
    for pattern in ("output-*", "incoming-*", "input"):
        for folder in job_folder.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)
    for notes in job_folder.glob("skipped-*.json"):
        notes.unlink(missing_ok=True)
