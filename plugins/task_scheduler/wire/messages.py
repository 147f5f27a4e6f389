"""What the log stream sends."""

from attrs import field, frozen


@frozen(kw_only=True)
class LogConnected:
    """The first message."""

    type: str = "connected"
    task_id: str
    user_id: str
    message: str = "Connected to task log stream"


@frozen(kw_only=True)
class LogLine:
    """One line, without its end."""

    type: str = "log"
    line: str
    task_id: str
    stream: str
    """Ours: ``stdout`` or ``stderr``."""
    next_offset: int
    """Ours: connect with ``?offset=`` this to go on after the line."""


@frozen(kw_only=True)
class LogGap:
    """Ours: lines were left out, because they came faster than they were read or exceed what is kept."""

    type: str = "gap"
    task_id: str
    from_offset: int
    next_offset: int
    message: str = "Some lines were left out"


@frozen(kw_only=True)
class LogComplete:
    """The last message."""

    type: str = "complete"
    task_id: str
    status: str
    message: str


@frozen(kw_only=True)
class StreamError:
    """Why there is nothing to stream; the connection is closed with it."""

    type: str = "error"
    task_id: str = ""
    worker_id: str = ""
    error: str
    message: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "message", self.error)
