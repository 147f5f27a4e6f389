"""What is written down about a request holds none of its secrets."""

from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from appliance.http.requestlog import safe_path
from appliance.testing import running

SHARES = """
from appliance.plugin import Answer, Call, Kind, Parts, Surface, hookimpl

appliance_api = 1
api = Surface("shares", prefixes=("/s",))


@api.get("/s/{code}", caller=frozenset(Kind), access="public")
async def opened(call: Call[None]) -> Answer:
    return Answer(model=call.path["code"].encode(), content_type="text/plain")


@api.post("/s/{code}", caller=frozenset(Kind), access="public", audit=True)
async def used(call: Call[None]) -> Answer:
    return Answer(model=b"used", content_type="text/plain")


@api.get("/kept/{token}/files", caller=frozenset(Kind), access="public")
async def kept(call: Call[None]) -> Answer:
    return Answer(model=call.path["token"].encode(), content_type="text/plain")


@hookimpl
def appliance_setup(core: object) -> Parts:
    return Parts(surfaces=[api.bind(None)])
"""


@pytest.mark.parametrize(
    ("path", "values", "shown"),
    [
        ("/s/hush", {}, "/s/[cut]"),
        ("/s/hush/files/1", {}, "/s/[cut]"),
        ("///s//hush", {}, "/s/[cut]"),
        ("/%73/hush%ff", {}, "/s/[cut]"),
        ("/s", {}, "/s"),
        ("/s/", {}, "/s/"),
        ("/share/1", {}, "/share/1"),
        ("/a/s/1", {}, "/a/s/1"),
        ("/kept/hush/files", {"token": "hush"}, "/kept/[cut]/files"),
        ("/kept/hush/files", {"name": "hush"}, "/kept/hush/files"),
        ("/kept//files", {"token": ""}, "/kept//files"),
    ],
)
def test_secrets_in_paths_are_cut(path: str, values: dict[str, str], shown: str) -> None:
    assert safe_path(path, values) == shown


CONFIG = """
[log]
requests = true
[plugins.gpu_sharing]
enabled = false  # its own links are under /s/, too
"""


@pytest.mark.parametrize("plugins", [{"shares": SHARES}, {}], ids=["served", "not served"])
async def test_code_of_a_shared_link_is_neither_logged_nor_audited(tmp_path: Path, plugins: dict[str, str]) -> None:
    with capture_logs() as logged:
        async with running(tmp_path, plugins=plugins, config=CONFIG) as appliance:
            for path in ("/s/very-secret", "/%73/very-secret", "/kept/very-secret/files"):
                answer = await appliance.get(path)
                assert answer.status == (200 if plugins else 404)
            used = await appliance.post("/s/very-secret")
            assert used.status == (200 if plugins else 404)
            with trio.fail_after(30):  # requests are written into the audit log behind their answers
                while True:
                    entries = (await appliance.control("GET", "/api/appliance/audit")).text
                    if not plugins or "/s/" in entries:
                        break
                    await trio.sleep(0.01)
    requests = [line["path"] for line in logged if line["event"] == "request"]
    assert requests[:2] == ["/s/[cut]", "/s/[cut]"]
    assert requests[3] == "/s/[cut]"
    assert ("/s/[cut]" in entries) == bool(plugins)
    if plugins:
        assert requests[2] == "/kept/[cut]/files"
        assert "very-secret" not in str(logged)
    assert "very-secret" not in entries
