"""Failures in the documented shape: always what is wrong and how to fix it."""

import pytest
from attrs import evolve

from appliance.plugin import (
    ApplianceError,
    BadInput,
    Busy,
    Conflict,
    Forbidden,
    Gone,
    Head,
    NotAuthenticated,
    NotFound,
    PathNotFound,
    StorageFailed,
    TooLarge,
)
from plugins.build_swarm.wire.errors import DRONE_HINT, KEY_HINT, render_error

HEAD = Head(method="GET", path="/", raw_query=b"", headers=(), peer=None, local="x", listener="x", scheme="http")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadInput("no"), 400),
        (NotAuthenticated("no"), 401),
        (Forbidden("no"), 403),
        (NotFound("drone", "x"), 404),
        (PathNotFound(), 404),
        (Conflict("no"), 409),
        (Gone("no"), 410),
        (TooLarge("no"), 413),
        (Busy("no"), 503),
        (StorageFailed("no"), 503),
        (ApplianceError("no"), 500),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ApplianceError) else "",
)
def test_failure_has_its_status_words_and_a_hint(error: ApplianceError, status: int) -> None:
    answer = render_error(error, HEAD)
    assert answer.status == status
    assert set(answer.model) == {"error", "hint"}
    assert answer.model["error"]
    assert answer.model["hint"]


def test_drone_is_told_how_it_is_let_in_and_others_of_the_key() -> None:
    missing = NotAuthenticated("a credential is needed here", hint="log in")
    for path, hint in (
        ("/api/v1/register", DRONE_HINT),
        ("/api/v1/work/", DRONE_HINT),
        ("/api/v1/queue", KEY_HINT),
        ("/api/v1/nodes/work", KEY_HINT),
    ):
        assert render_error(missing, evolve(HEAD, path=path)).model["hint"] == hint
    named = NotAuthenticated("the name is not ours", hint="use an address")
    assert render_error(named, evolve(HEAD, path="/api/v1/poll")).model["hint"] == (
        f"the name is not ours: use an address; {DRONE_HINT}"
    )


def test_wrong_field_is_named_without_the_root() -> None:
    answer = render_error(BadInput("$.packages: found text", field="$.packages", hint="send a list"), HEAD)
    assert answer.model == {"error": "packages: found text", "hint": "send a list", "field": "packages"}


def test_missing_key_is_told_in_the_documented_words_and_a_wrong_one_with_its_reason() -> None:
    missing = render_error(NotAuthenticated("a credential is needed here", hint="log in"), HEAD).model
    wrong = render_error(NotAuthenticated("this key does not count", hint="it is revoked"), HEAD).model
    assert missing == {"error": "Admin authentication required", "hint": KEY_HINT}
    assert wrong == {
        "error": "Admin authentication required",
        "hint": f"this key does not count: it is revoked; {KEY_HINT}",
    }


def test_words_of_a_failure_begin_no_tag() -> None:
    answer = render_error(NotFound("drone", "<svg/onload=alert(1)>", hint="<b>"), HEAD)
    assert "<" not in answer.model["error"] + answer.model["hint"]
