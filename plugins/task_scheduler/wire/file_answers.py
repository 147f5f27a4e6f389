"""What clients are answered about files, field by field: the document's and the upstream server's names together."""

from attrs import frozen


@frozen(kw_only=True)
class FileItem:
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


@frozen(kw_only=True)
class ShortFile:
    """One file as the upstream server lists it."""

    path: str
    size: int


@frozen(kw_only=True)
class TaskWithFiles:
    """A task that left files, as the upstream server lists it."""

    task_id: str
    task_name: str
    timestamp: int
    files: tuple[ShortFile, ...]
    total_size: int


@frozen(kw_only=True)
class UserFiles:
    """All files of a user, newest task first."""

    user_id: str
    files: tuple[FileItem, ...]
    tasks: tuple[TaskWithFiles, ...]
    count: int
    """Of files."""


@frozen(kw_only=True)
class TaskFiles:
    """The files of one task."""

    task_id: str
    user_id: str
    files: tuple[FileItem, ...]
    task_name: str
    timestamp: int
    total_size: int


@frozen(kw_only=True)
class Deleted:
    """That a task's files are gone."""

    success: bool = True
    status: str = "success"
    message: str
    task_id: str
