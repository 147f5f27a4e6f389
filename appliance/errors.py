"""Failures a caller can act on: one subclass per reaction."""

from attrs import frozen


class ApplianceError(Exception):
    """Base of them all; raise a subclass.

    ``status`` is the HTTP status we suggest (a surface's own error renderer has the last word), ``hint`` says what
    to do next, ``field`` names the input at fault as a path (``$.gpus[0].vram_mb``) or is empty.
    """

    status = 500

    def __init__(self, message: str, *, hint: str = "", field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Answer headers that belong to this failure, such as ``Retry-After``."""
        return ()


class BadInput(ApplianceError):
    """The request cannot be understood or breaks a rule of its endpoint; ``field`` says where."""

    status = 400


class NotAuthenticated(ApplianceError):
    """No credential, or one that is wrong, expired or revoked."""

    status = 401


class Forbidden(ApplianceError):
    """The caller is known and may not do this."""

    status = 403


class NotFound(ApplianceError):
    """What was named does not exist, or is not the caller's to see."""

    status = 404

    def __init__(self, kind: str, name: str, *, hint: str = "") -> None:
        super().__init__(f"no {kind} {name!r}", hint=hint)
        self.kind, self.name = kind, name


class PathNotFound(ApplianceError):
    """No endpoint claims the path."""

    status = 404

    def __init__(self) -> None:
        super().__init__("Not Found", hint="the endpoints are listed at /docs")


class MethodNotAllowed(ApplianceError):
    """The path exists with other methods only."""

    status = 405

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__("Method Not Allowed", hint=f"this path answers {', '.join(allowed)}")
        self.allowed = allowed

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("Allow", ", ".join(self.allowed)),)


class Conflict(ApplianceError):
    """The state of things forbids it: a name that is taken, a step out of order."""

    status = 409


class Gone(ApplianceError):
    """It existed and never will again."""

    status = 410


class TooLarge(ApplianceError):
    """A body, a name or a number of items over its limit."""

    status = 413


class TooManyRequests(ApplianceError):
    """A rate limit; ``retry_after_seconds`` is when the next try can succeed."""

    status = 429

    def __init__(self, message: str, *, retry_after_seconds: float, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("Retry-After", str(max(1, int(self.retry_after_seconds + 0.999)))),)


class NotAvailable(ApplianceError):
    """This appliance cannot do it, and the message says why ("not available because ...")."""

    status = 501


class Busy(ApplianceError):
    """Not now: a queue is full, a part is starting, restarting or stopping; trying again later helps."""

    status = 503

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("Retry-After", "1"),)


class StorageFailed(ApplianceError):
    """The database could not take or give data (disk full, read-only, input/output error, corrupt file)."""

    status = 503


class AlreadyRunning(ApplianceError):
    """Another process holds the data directory; ``pid`` is its process id, 0 when unknown."""

    status = 409

    def __init__(self, message: str, *, pid: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.pid = pid


class DeviceUnavailable(ApplianceError):
    """A device backend cannot work now; the message is for people ("the NVIDIA driver is not loaded")."""

    status = 503


@frozen(kw_only=True)
class ConfigProblem:
    """One thing wrong in the configuration, with everything needed to mend it."""

    file: str
    line: int | None
    key: str
    found: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key} = {self.found}: expected {self.expected}"


class BadConfiguration(ApplianceError):
    """Every problem of the configuration at once; a command that meets it exits 2."""

    status = 400

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems), hint="appliance config check")
        self.problems = problems
