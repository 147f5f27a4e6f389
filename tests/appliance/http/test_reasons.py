"""What stands behind the status on the first line of an answer: programs show people that line alone."""

from pathlib import Path

import pytest

from appliance.http.server import Dispatch
from tests.appliance.http.edge_kit import request, serving

LINES = {
    "found": (request("GET", "/kit/hello"), b"HTTP/1.1 200 OK"),
    "not found": (request("GET", "/kit/nowhere"), b"HTTP/1.1 404 Not Found"),
    "not allowed": (request("PUT", "/kit/hello", body=b"x"), b"HTTP/1.1 405 Method Not Allowed"),
    "wrong field": (request("POST", "/kit/beat", body=b'{"host":1}'), b"HTTP/1.1 400 Bad Request"),
    "no HTTP": (b"GET /kit/hello\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
}


@pytest.mark.parametrize("case", LINES)
async def test_answer_says_in_words_what_its_status_means(tmp_path: Path, dispatch: Dispatch, case: str) -> None:
    sent, line = LINES[case]
    async with serving(tmp_path, dispatch=dispatch) as edge:
        client = await edge.connect()
        assert (await client.ask(sent)).raw.partition(b"\r\n")[0] == line
