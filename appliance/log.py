"""Sets up the log: one event name per thing that happens, as text for people or JSON for programs."""

import logging
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final, Literal, TextIO

import structlog

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50, "exception": 40, "warn": 30}
_METHODS: Final = ("debug", "info", "warning", "warn", "error", "exception", "critical", "fatal", "msg", "log")


class _Lines:
    """Writes finished lines; a reader that has gone away costs lines, never the process."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def _write(self, line: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(f"{line}\n")
            self._stream.flush()

    def __getattr__(self, name: str) -> Callable[[str], None]:
        if name in _METHODS:
            return self._write
        raise AttributeError(name)


class _Forward(logging.Handler):
    """Hands records of the standard library's log to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        name = {10: "debug", 20: "info", 30: "warning"}.get(record.levelno, "error")
        getattr(structlog.get_logger(record.name), name)(record.getMessage(), exc_info=record.exc_info or None)


def configure(
    *, level: Callable[[], str], form: Literal["auto", "text", "json"] = "auto", stream: TextIO | None = None
) -> None:
    """Set up logging for this process.

    :param level: asked for each line, so that a reload changes what is told.
    :param form: ``auto`` is text on a terminal, else JSON.
    :param stream: standard error by default.
    """
    stream = sys.stderr if stream is None else stream
    is_text = form == "text" or (form == "auto" and stream.isatty())

    def drop(_: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if LEVELS.get(method, 20) < LEVELS[level()]:
            raise structlog.DropEvent
        return line

    renderer: list[Any] = (
        # Not its pretty tracebacks: they take a second each, and show the values of variables, secrets included.
        [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if is_text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    structlog.configure(
        processors=[
            drop,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),  # the level that changes is `drop`'s
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(logging.WARNING)
