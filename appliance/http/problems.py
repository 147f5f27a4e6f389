"""Failures as answers: in the surface's own shape, or in one that every client's error reader understands."""

import structlog

from appliance.errors import ApplianceError
from appliance.surface import Answer, Head, Surface

log = structlog.get_logger("appliance.http")

FRAMING = {
    400: ("Bad Request", "the request is not well-formed HTTP/1.1"),
    408: ("Request Timeout", "the rest of the request did not arrive in time"),
    413: ("Payload Too Large", "send less at once"),
    414: ("URI Too Long", "the request line and headers are limited to 16 kB"),
    431: ("Request Header Fields Too Large", "the request line and headers are limited to 16 kB"),
    501: ("Not Implemented", "only the transfer encoding chunked is understood"),
    503: ("Service Unavailable", "try again later"),
    505: ("HTTP Version Not Supported", "use HTTP/1.1"),
}


class Crashed(ApplianceError):
    """A handler raised what no caller can act on; details are in the log under the request's id."""

    status = 500

    def __init__(self, request_id: str) -> None:
        super().__init__("Internal Server Error", hint=f"the log names the cause under request id {request_id}")
        self.request_id = request_id

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("X-Request-Id", self.request_id),)


def plain_problem(error: ApplianceError, head: Head | None = None) -> Answer:
    """Render where no surface owns the path: ``error`` and ``message`` say the same, ``hint`` what to do."""
    model = {"error": error.message, "message": error.message, "hint": error.hint}
    return Answer(model=model, status=error.status, headers=error.headers)


def own_problem(error: ApplianceError, head: Head | None = None) -> Answer:
    """Render as our own API does: ``{"error","hint","field"}``."""
    model = {"error": error.message, "hint": error.hint, "field": error.field}
    return Answer(model=model, status=error.status, headers=error.headers)


def problem(error: ApplianceError, head: Head, surface: Surface | None) -> Answer:
    """Render through the surface that owns the path; a renderer that raises costs only its shape."""
    if surface is None:
        return plain_problem(error, head)
    render = surface.errors or own_problem
    try:
        answer = render(error, head)
    except Exception:
        log.exception("error renderer failed", surface=surface.name)
        answer = plain_problem(error, head)
    return _with_headers(answer, error)


def _with_headers(answer: Answer, error: ApplianceError) -> Answer:
    """Add the failure's own headers (Allow, Retry-After) that the renderer left out."""
    said = {name.lower() for name, _ in answer.headers}
    missing = tuple((name, value) for name, value in error.headers if name.lower() not in said)
    status = answer.status if answer.status is not None else error.status
    return Answer(
        model=answer.model,
        status=status,
        headers=(*answer.headers, *missing),
        cookies=answer.cookies,
        content_type=answer.content_type,
    )
