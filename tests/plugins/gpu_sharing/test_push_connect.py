"""What a CONNECT asks for, and who asks."""

import base64

import pytest

from plugins.gpu_sharing.push_connect import read_credential, read_target
from plugins.gpu_sharing.push_head import PushRefused, RequestHead


def head(target: str, *, method: str = "CONNECT", credential: str | None = None) -> RequestHead:
    fields = (("proxy-authorization", credential),) if credential is not None else ()
    return RequestHead(method=method, target=target, fields=fields)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("sse.tensor-fusion.ai:443", ("sse.tensor-fusion.ai", 443)),
        ("SSE.Tensor-Fusion.AI.:443", ("sse.tensor-fusion.ai", 443)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
        ("[fd00::1]:65535", ("fd00::1", 65535)),
    ],
)
def test_host_and_port_are_read(target: str, wanted: tuple[str, int]) -> None:
    assert read_target(head(target)) == wanted


@pytest.mark.parametrize(
    "target",
    [
        "a",
        "a:",
        ":443",
        "a:0",
        "a:65536",
        "a:99999",
        "a:000443",
        "a:+443",
        "a:443/",
        "a:443:443",
        "user@a:443",
        "http://a:443",
        "/",
        "*",
        "fd00::1:443",
        "[fd00::1%25lo]:443",
        "[]:443",
        "0.0.0.0:443",
        "[::]:443",
        "127.1:443",
        "2130706433:443",
        "0x7f000001:443",
        "-a:443",
        "a..b:443",
        "a_b:443",
        "224.0.0.1:443",
    ],
)
def test_anything_else_is_no_target(target: str) -> None:
    with pytest.raises(PushRefused) as refused:
        read_target(head(target))
    assert refused.value.status == 400


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS"])
def test_other_methods_are_refused_with_what_to_set(method: str) -> None:
    with pytest.raises(PushRefused, match="CONNECT alone") as refused:
        read_target(head("http://a/", method=method))
    assert refused.value.status == 403
    assert "HTTPS_PROXY" in refused.value.hint


def authenticate(token: str) -> str | None:
    return {"s:e:c": "agent_1"}.get(token)


@pytest.mark.parametrize("credential", [basic("agent:s:e:c"), basic(":s:e:c"), "Bearer s:e:c", "bearer  s:e:c"])
def test_secret_names_its_agent(credential: str) -> None:
    assert read_credential(head("a:443", credential=credential), authenticate) == "agent_1"


def test_nobody_is_named_without_a_secret() -> None:
    assert read_credential(head("a:443"), authenticate) is None


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic YQ",
        "Basic /////w==",
        "Digest s:e:c",
        basic("agent:"),
        basic("s:e:c"),
        "Bearer ",
        "Bearer x",
        "Bearer " + "s" * 1100,
        basic("a:" + "b" * 5000),
    ],
)
def test_wrong_secret_is_asked_for_again(credential: str) -> None:
    with pytest.raises(PushRefused) as refused:
        read_credential(head("a:443", credential=credential), authenticate)
    assert refused.value.status == 407
    assert refused.value.headers == (("proxy-authenticate", 'Basic realm="agents"'),)
