"""The key set is a JWK Set as others read it, and theirs are read with suspicion."""

import json
from typing import Any

import pytest

from appliance.errors import BadInput
from appliance.licenses.jwks import decode, encode, key_set, read_key_set, thumbprint

from .kit import Signer

US, OTHER = Signer.numbered(1), Signer.numbered(2)
RFC_8037_X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


def jwk(**change: Any) -> dict[str, Any]:
    """Return our key as a JWK, with members changed; ``None`` leaves one out."""
    whole = {"kty": "OKP", "crv": "Ed25519", "x": encode(US.public), "kid": US.kid, "use": "sig"} | change
    return {name: value for name, value in whole.items() if value is not None}


def as_set(*keys: Any) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def test_the_key_id_is_the_thumbprint_of_the_rfcs_example() -> None:
    # RFC 8037, A.2 and A.3.
    public = decode(RFC_8037_X)
    assert public is not None
    assert thumbprint(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_the_set_holds_the_public_halves_in_their_order_and_is_read_back() -> None:
    made = key_set([US.public, OTHER.public])
    keys = json.loads(made.body)["keys"]
    assert keys[0] == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": encode(US.public),
        "kid": US.kid,
        "use": "sig",
        "alg": "EdDSA",
    }
    assert read_key_set(made.body) == {**US.keys, **OTHER.keys}


def test_the_tag_changes_with_the_keys_and_only_then() -> None:
    assert key_set([US.public]).etag == key_set([US.public]).etag
    assert key_set([US.public]).etag != key_set([US.public, OTHER.public]).etag
    assert key_set([US.public, OTHER.public]).etag != key_set([OTHER.public, US.public]).etag


@pytest.mark.parametrize("text", ["A", "AA=", "AB", "A A", "AA\n", "+/+/", "\u0660", "=", "AAA="])
def test_base64url_that_is_not_canonical_decodes_to_nothing(text: str) -> None:
    assert decode(text) is None


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "RSA"},
        {"kty": "oct"},
        {"crv": "Ed448"},
        {"crv": "X25519"},
        {"use": "enc"},
        {"alg": "HS256"},
        {"kty": None},
    ],
)
def test_a_key_for_anything_else_is_passed_over(change: dict[str, Any]) -> None:
    assert read_key_set(as_set(jwk(**change), {"kty": "RSA"})) == {}


@pytest.mark.parametrize("change", [{"use": None}, {"alg": "EdDSA"}, {"alg": "Ed25519"}, {"x5t": "ignored"}])
def test_members_that_need_not_be_there_change_nothing(change: dict[str, Any]) -> None:
    assert read_key_set(as_set(jwk(**change))) == US.keys


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[1]}',
        b"[" * 100_000,
        b"\xff\xfe",
        b" " * 262_145,
        b"9" * 5_000,
        as_set(*[jwk()] * 101),
        as_set(jwk(), jwk(x=encode(OTHER.public))),
        as_set(jwk(kid=None)),
        as_set(jwk(kid="")),
        as_set(jwk(kid="k" * 65)),
        as_set(jwk(kid=7)),
        as_set(jwk(x=None)),
        as_set(jwk(x=7)),
        as_set(jwk(x=encode(US.public) + "=")),
        as_set(jwk(x=encode(US.public[:31]))),
        as_set(jwk(x=encode(US.public + b"\0"))),
        as_set(jwk(x="A" * 1000)),
    ],
)
def test_a_set_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(BadInput):
        read_key_set(body)
