import pytest

from appliance.errors import Forbidden
from appliance.http import origin
from appliance.surface import Head

OWN = ("host", "127.0.0.1:8080")


def head(*headers: tuple[str, str], method: str = "GET", scheme: str = "http", local: str = "127.0.0.1") -> Head:
    return Head(
        method=method,
        path="/",
        raw_query=b"",
        headers=[(name.encode(), value.encode()) for name, value in headers],
        peer=("127.0.0.1", 50000),
        local=(local, 8080),
        listener="test",
        scheme=scheme,
    )


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LOCALHOST.",
        "127.0.0.1:8080",
        "127.9.9.9",
        "[::1]:8080",
        "10.1.2.3",
        "gpu-box.lan",
    ],
)
def test_our_own_names_are_ours(host: str) -> None:
    assert origin.names_us(head(("host", host), local="10.1.2.3"), ["GPU-box.lan"])


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.9.9.9",
        "",
        "a b",
        "user@localhost",
        "localhost/x",
        "localhost:99999999",
        "localhost:8080:9090",
        "[::1",
        "[::1]evil.example",
        "evil.example[::1]",
        "evil.example[::1]:8080",
        "[::1][::1]",
        "127.0.0.1,evil.example",
    ],
)
def test_name_pointed_at_our_address_is_foreign(host: str) -> None:
    assert not origin.names_us(head(("host", host), local="10.1.2.3"), ["gpu-box.lan"])


def test_no_host_and_two_hosts_are_foreign() -> None:
    assert not origin.names_us(head())
    assert not origin.names_us(head(OWN, ("host", "localhost")))


@pytest.mark.parametrize(
    "name", ["x-forwarded-for", "x-forwarded-host", "x-forwarded-anything", "forwarded", "x-real-ip", "via"]
)
def test_every_forwarding_header_is_seen(name: str) -> None:
    assert origin.is_forwarded(head(OWN, (name, "")))
    assert not origin.is_forwarded(head(OWN, ("x-request-id", "1")))


SAME = [
    (),
    (("origin", "http://127.0.0.1:8080"),),
    (("sec-fetch-site", "same-origin"),),
    (("sec-fetch-site", "none"),),
    (("origin", "http://localhost:3000"), ("sec-fetch-site", "cross-site")),
]
FOREIGN = [
    (("origin", "http://evil.example"),),
    (("origin", "null"),),
    (("origin", "http://127.0.0.1:9999"),),
    (("origin", "http://127.0.0.1:8080"), ("origin", "http://evil.example")),
    (("sec-fetch-site", "cross-site"),),
    (("sec-fetch-site", "same-site"),),
    (("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-site")),
    (("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")),
    (("origin", ""),),
]


@pytest.mark.parametrize("headers", SAME)
def test_request_of_no_page_or_of_an_allowed_one_may_be_trusted(headers: tuple[tuple[str, str], ...]) -> None:
    assert origin.is_same_site_request(head(OWN, *headers), ["http://localhost:3000"])


@pytest.mark.parametrize("headers", FOREIGN)
def test_request_of_a_foreign_page_is_not_trusted_whatever_its_method(headers: tuple[tuple[str, str], ...]) -> None:
    assert not origin.is_same_site_request(head(OWN, *headers), ["http://localhost:3000"])


def test_plain_text_twin_of_a_tls_site_is_foreign() -> None:
    assert not origin.is_own_origin(head(("host", "box"), scheme="https"), "http://box")
    assert origin.is_own_origin(head(("host", "box"), scheme="https"), "https://box")
    assert origin.is_own_origin(head(("host", "box")), "https://box")  # TLS ends at a proxy before us


FORGED = [
    (("sec-fetch-site", "cross-site"),),
    (("sec-fetch-site", "cross-site"), ("origin", "http://localhost:3000")),
    (("sec-fetch-site", "same-site"),),
    (("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:9999")),
    (("origin", "http://evil.example"),),
    (("origin", "null"),),
    (("x-csrftoken", "wrong"),),
    (("x-csrf-token", "wrong"),),
]
GENUINE = [
    (),
    (("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")),
    (("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")),
    (("x-csrftoken", "right"),),
]


@pytest.mark.parametrize("headers", FORGED)
def test_forged_request_with_our_cookie_is_refused(headers: tuple[tuple[str, str], ...]) -> None:
    allowed, cookies = ["http://localhost:3000"], {"csrftoken": "right"}
    for method, websocket in (("POST", False), ("DELETE", False), ("GET", True)):
        with pytest.raises(Forbidden):
            origin.refuse_forgery(
                head(OWN, *headers, method=method), websocket=websocket, cookies=cookies, allowed=allowed
            )
    origin.refuse_forgery(head(OWN, *headers), websocket=False, cookies=cookies, allowed=allowed)  # reading is safe


@pytest.mark.parametrize("headers", GENUINE)
def test_genuine_request_with_our_cookie_passes(headers: tuple[tuple[str, str], ...]) -> None:
    origin.refuse_forgery(
        head(OWN, *headers, method="POST"),
        websocket=False,
        cookies={"csrftoken": "right"},
        allowed=["http://localhost:3000"],
    )


def test_foreign_page_cannot_log_anybody_in() -> None:
    with pytest.raises(Forbidden):
        origin.refuse_foreign_page(head(OWN, ("origin", "http://evil.example"), method="POST"))
    origin.refuse_foreign_page(head(OWN, ("origin", "http://evil.example")))
    origin.refuse_foreign_page(head(OWN, method="POST"))
