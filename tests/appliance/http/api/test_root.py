"""`/`: by what the client prefers."""

from typing import Any

from appliance.credentials.kinds import ANONYMOUS, Caller, Kind, Role
from appliance.http.api.root import root
from appliance.surface import Answer, Call, Head

ANA = Caller(kind=Kind.SESSION, role=Role.VIEWER, name="ana")


class State:
    """What `/` reads of the appliance's state."""

    def front_page(self) -> Any:
        async def page(call: Call[None]) -> str:
            return "the page"

        return page

    def about(self) -> dict[str, Any]:
        return {"backend_version": "0.2.0"}


def call(accept: bytes, caller: Caller = ANONYMOUS) -> Call[None]:
    head = Head(
        method="GET",
        path="/",
        raw_query=b"",
        headers=((b"accept", accept),),
        peer=None,
        local="",
        listener="",
        scheme="http",
    )
    return Call(head=head, caller=caller, body=None, state=State())


async def test_browsers_are_given_the_front_page() -> None:
    assert await root(call(b"text/html,*/*;q=0.8")) == "the page"


async def test_programs_are_told_what_this_is_with_what_plugins_add_and_a_readable_cookie() -> None:
    answer = await root(call(b"application/json"))
    assert isinstance(answer, Answer)
    assert answer.model["ok"] is True
    assert answer.model["service"] == "appliance"
    assert answer.model["backend_version"] == "0.2.0"
    (cookie,) = answer.cookies
    assert cookie.name == "csrftoken"
    assert len(cookie.value) >= 32
    assert not cookie.http_only
    assert ("Vary", "Accept") in answer.headers


async def test_cookie_of_a_session_is_left_as_it_is() -> None:
    assert (await root(call(b"application/json", ANA))).cookies == ()
