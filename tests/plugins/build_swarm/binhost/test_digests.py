import base64
import hashlib

import pytest

from appliance.plugin import BadInput, Head
from plugins.build_swarm.binhost.digests import sha256_of

DIGEST = hashlib.sha256(b"x").digest()
BASE64 = base64.b64encode(DIGEST).decode()


def head(**headers: str) -> Head:
    sent = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Head(method="PUT", path="/", raw_query=b"", headers=sent, peer=None, local="", listener="", scheme="http")


@pytest.mark.parametrize(
    "headers",
    [
        {"x_content_sha256": DIGEST.hex()},
        {"x_content_sha256": f" {DIGEST.hex().upper()} "},
        {"content_digest": f"sha-256=:{BASE64}:"},
        {"content_digest": f"sha-512=:AAAA:, sha-256=:{BASE64}:"},
        {"content_digest": f"sha-256=:{BASE64}:", "x_content_sha256": DIGEST.hex()},
    ],
)
def test_hash_is_read_from_either_header(headers: dict[str, str]) -> None:
    assert sha256_of(head(**headers)) == DIGEST.hex()


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "no hash is given"),
        ({"content_digest": "sha-512=:AAAA:"}, "no hash is given"),
        ({"x_content_sha256": "abc"}, "no SHA-256 in hexadecimal"),
        ({"x_content_sha256": "\xe9" * 64}, "no SHA-256 in hexadecimal"),
        ({"content_digest": "sha-256=:AAAA:"}, "no SHA-256 in base64"),
        ({"content_digest": "sha-256=:A:"}, "no SHA-256 in base64"),
        ({"content_digest": f"sha-256=:{BASE64}:", "x_content_sha256": "0" * 64}, "two hashes that differ"),
    ],
)
def test_hash_that_is_missing_or_wrong_is_refused(headers: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        sha256_of(head(**headers))
