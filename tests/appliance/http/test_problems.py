"""Failures as answers, in the shape of whoever owns the path."""

import pytest

from appliance.errors import ApplianceError, BadInput, Busy, MethodNotAllowed, TooManyRequests
from appliance.http.problems import Crashed, own_problem, plain_problem, problem
from appliance.surface import Answer, Head, Surface

HEAD = Head(
    method="GET", path="/x", raw_query=b"", headers=(), peer=None, local="socket", listener="one", scheme="http"
)


def test_crash_is_answered_with_its_request_id_and_nothing_of_its_cause() -> None:
    answer = problem(Crashed("r-7"), HEAD, None)
    assert answer.status == 500
    assert answer.model["error"] == "Internal Server Error"
    assert ("X-Request-Id", "r-7") in answer.headers
    assert "r-7" in answer.model["hint"]


def test_paths_nobody_owns_answer_under_both_names_that_clients_read() -> None:
    model = plain_problem(BadInput("no", hint="yes")).model
    assert model == {"error": "no", "message": "no", "hint": "yes"}


def test_our_own_api_names_the_field() -> None:
    assert own_problem(BadInput("no", field="$.a")).model == {"error": "no", "hint": "", "field": "$.a"}


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (MethodNotAllowed(("GET", "PUT")), ("Allow", "GET, PUT")),
        (TooManyRequests("slow down", retry_after_seconds=2.1), ("Retry-After", "3")),
        (Busy("a queue is full"), ("Retry-After", "1")),
    ],
)
def test_headers_of_a_failure_are_added_where_the_surface_leaves_them_out(
    error: ApplianceError, header: tuple[str, str]
) -> None:
    surface = Surface("terse", errors=lambda failure, head: Answer(model={"m": failure.message}))
    answer = problem(error, HEAD, surface)
    assert (answer.status, answer.model) == (error.status, {"m": error.message})
    assert header in answer.headers


def test_renderer_that_raises_costs_only_its_shape() -> None:
    def broken(failure: ApplianceError, head: Head) -> Answer:
        raise RuntimeError("no shape")

    answer = problem(BadInput("no"), HEAD, Surface("broken", errors=broken))
    assert (answer.status, answer.model["error"]) == (400, "no")
