"""Who may call the sharing API: nobody without a credential, and nobody for what is another's."""

from typing import Any

import pytest

from tests.wire.sharing import Host, Sharing, failed

pytestmark = pytest.mark.zipapp


@pytest.fixture(scope="module")
def host(sharing: Sharing) -> Host:
    """A host of the user's."""
    return sharing.host()


ENDPOINTS = [
    ("POST", "/api/v1/tokens/generate"),
    ("GET", "/api/v1/tokens/x/status"),
    ("GET", "/api/v1/tokens/pat"),
    ("POST", "/api/v1/tokens/pat"),
    ("DELETE", "/api/v1/tokens/pat"),
    ("GET", "/api/v1/agents"),
    ("GET", "/api/v1/agents/x"),
    ("DELETE", "/api/v1/agents/x"),
    ("POST", "/api/v1/agents/register"),
    ("POST", "/api/v1/agents/x/status"),
    ("GET", "/api/v1/agents/x/config"),
    ("POST", "/api/v1/agents/x/metrics"),
    ("GET", "/api/v1/workers"),
    ("POST", "/api/v1/workers"),
    ("GET", "/api/v1/workers/x"),
    ("PATCH", "/api/v1/workers/x"),
    ("DELETE", "/api/v1/workers/x"),
    ("GET", "/api/v1/shares"),
    ("POST", "/api/v1/shares"),
    ("DELETE", "/api/v1/shares/x"),
]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_endpoint_without_or_with_a_wrong_credential_is_401(sharing: Sharing, method: str, path: str) -> None:
    body: Any = None if method in ("GET", "DELETE") else {}
    wrongs: list[dict[str, str]] = [{}, {"Authorization": "Bearer nonsense"}, {"Cookie": "session=x"}]
    for headers in wrongs:
        failed(sharing.guest.send(method, path, body, headers=headers), 401)


@pytest.mark.parametrize(("method", "path"), [each for each in ENDPOINTS if each[1].endswith("/x")])
def test_id_that_is_anothers_is_404(sharing: Sharing, host: Host, method: str, path: str) -> None:
    share = sharing.user.share(host.worker_id)
    ids = {"agents": host.agent_id, "workers": host.worker_id, "shares": share["share_id"]}
    kind = path.split("/")[3]
    for foreign in (ids[kind], "nobody"):
        body: Any = {} if method == "PATCH" else None
        failed(sharing.other.send(method, f"/api/v1/{kind}/{foreign}", body), 404)
    assert sharing.user.read(host.path)["agent_id"] == host.agent_id


def test_body_that_is_no_json_is_400(sharing: Sharing, host: Host) -> None:
    for body in (b"not json", b"{", b"", b"[]", b"5", b"null"):
        failed(sharing.user.send("POST", "/api/v1/workers", body), 400)
        failed(host.send("POST", f"{host.path}/status", body), 400)
