"""Bodies that an endpoint knows without decoding them: a shortcut's yes counts, its no leaves all as it was."""

from pathlib import Path
from typing import Any

from appliance.credentials.kinds import Caller
from appliance.http.server import Dispatch
from appliance.surface import Call, Surface
from tests.appliance.http.edge_kit import Beat, Raw, serving


class Known:
    """What stands in for a body that is known."""


def _known(raw: bytes, caller: Caller, state: Any) -> Known | None:
    return Known() if raw == state and caller.name == "ana" else None


def surface() -> Surface:
    api = Surface("short", prefixes=("/short",))

    @api.post("/short/beat", body=Beat, hot=True, shortcut=_known)
    async def beat(call: Call[Beat | Known]) -> dict[str, Any]:
        return {"kind": type(call.body).__name__, "bytes": len(call.raw)}

    return api


async def asked(client: Raw, body: bytes) -> tuple[int, bytes]:
    head = f"POST /short/beat HTTP/1.1\r\nHost: kit\r\nAuthorization: Bearer x\r\nContent-Length: {len(body)}\r\n\r\n"
    await client.send(head.encode() + body)
    reply = await client.reply()
    return reply.status, reply.body


async def test_known_body_is_not_decoded_and_any_other_is(tmp_path: Path, dispatch: Dispatch) -> None:
    known = b"known, and no JSON at all"
    async with serving(tmp_path, dispatch=dispatch, surfaces=[surface().bind(known)]) as edge:
        client = await edge.connect()
        assert await asked(client, known) == (200, b'{"kind":"Known","bytes":25}')
        assert await asked(client, b'{"host":"box"}') == (200, b'{"kind":"Beat","bytes":14}')
        assert (await asked(client, b"known, but another"))[0] == 400
