"""kill -9 while people write over HTTP: whatever was acknowledged is there after the next start."""

import http.client
import json
import random
import signal
from contextlib import closing
from threading import Event, Thread

import pytest

from tests.product.served import Product

pytestmark = pytest.mark.zipapp
WRITERS = 6
ACKNOWLEDGED_AT_LEAST = 20


class Writer(Thread):
    """A client with one keep-alive connection that makes tokens until the server is gone."""

    def __init__(self, port: int, bearer: str, number: int, enough: Event) -> None:
        super().__init__(daemon=True)
        self._port, self._bearer, self._number, self._enough = port, bearer, number, enough
        self.acknowledged: dict[str, str] = {}
        """Labels by id of the tokens that were answered with 201."""
        self.refused: list[int] = []

    def run(self) -> None:
        """Write; the end of the connection is the end of the work."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        headers = {"Authorization": f"Bearer {self._bearer}", "Content-Type": "application/json"}
        try:
            while True:
                label = f"{self._number}-{len(self.acknowledged)}"
                connection.request(
                    "POST", "/api/appliance/tokens", json.dumps({"kind": "pat", "label": label}), headers
                )
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 201:
                    self.refused.append(answer.status)
                    return
                self.acknowledged[json.loads(body)["id"]] = label
                if len(self.acknowledged) >= ACKNOWLEDGED_AT_LEAST:
                    self._enough.set()
        except (OSError, http.client.HTTPException, ValueError):
            return
        finally:
            connection.close()


def stored(one: Product, bearer: str) -> dict[str, str]:
    """Return the labels by id of every token there is."""
    found: dict[str, str] = {}
    before: int | None = None
    while True:
        page = one.get(
            "/api/appliance/tokens",
            params={"limit": 1000} | ({} if before is None else {"before": before}),
            headers={"Authorization": f"Bearer {bearer}"},
        ).json()
        found |= {item["id"]: item["label"] for item in page["items"]}
        before = page["next"]
        if before is None:
            return found


def lose_nothing(one: Product, kills: int) -> None:
    one.start()
    with closing(one.set_up()) as browser:
        bearer = browser.post("/api/appliance/tokens", json={"kind": "pat", "label": "of the test"}).json()["token"]
    chance, acknowledged = random.Random(20261121), dict[str, str]()
    for _ in range(kills):
        enough = Event()
        writers = [Writer(one.port, bearer, number, enough) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        assert enough.wait(60)
        Event().wait(chance.uniform(0, 0.2))  # the kill falls anywhere in a group commit
        one.process.send_signal(signal.SIGKILL)
        one.end()
        for writer in writers:
            writer.join(60)
            assert writer.refused == []
            acknowledged |= writer.acknowledged
        one.start()
        assert acknowledged.items() <= stored(one, bearer).items()
        verdict = one.json("audit", "verify")
        assert verdict["ok"] is True
        # Each acknowledged token has its audit entry besides.
        assert verdict["entries"] >= len(acknowledged)
    assert "Traceback" not in one.log


def test_three_kills_under_writes_lose_nothing_acknowledged(fresh: Product) -> None:
    lose_nothing(fresh, 3)


@pytest.mark.long
def test_twenty_kills_under_writes_lose_nothing_acknowledged(fresh: Product) -> None:
    lose_nothing(fresh, 20)
