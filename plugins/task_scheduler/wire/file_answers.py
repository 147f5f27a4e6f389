"""What clients are answered about files, field by field: the document's and the upstream server's names together."""

from msgspec import Struct


class FileItem(Struct, frozen=True, kw_only=True):
    """One file of a task, as documented."""

    file_id: str
    task_id: str
    file_name: str
    file_path: str
    file_size: int
    content_type: str
    uploaded_at: int
    path: str
    """The same as ``file_path``, as the upstream server names it; so is the next."""
    size: int


class ShortFile(Struct, frozen=True, kw_only=True):
    """One file as the upstream server lists it."""

    path: str
    size: int


class TaskWithFiles(Struct, frozen=True, kw_only=True):
    """A task that left files, as the upstream server lists it."""

    task_id: str
    task_name: str
    timestamp: int
    files: tuple[ShortFile, ...]
    total_size: int


class UserFiles(Struct, frozen=True, kw_only=True):
    """All files of a user, newest task first."""

    user_id: str
    files: tuple[FileItem, ...]
    tasks: tuple[TaskWithFiles, ...]
    count: int
    """Of files."""


class TaskFiles(Struct, frozen=True, kw_only=True):
    """The files of one task."""

    task_id: str
    user_id: str
    files: tuple[FileItem, ...]
    task_name: str
    timestamp: int
    total_size: int


class Deleted(Struct, frozen=True, kw_only=True):
    """That a task's files are gone."""

    success: bool = True
    status: str = "success"
    message: str
    task_id: str
