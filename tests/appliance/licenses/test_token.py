"""Every way to forge, stretch or misuse a licence that we know of is refused; what is genuine holds."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.licenses.claims import LIFETIME_MS, SKEW_MS, Claims, LicenseRefused, write_plain
from appliance.licenses.jwks import encode
from appliance.licenses.token import TYPE, sign, verify

from .kit import NOW_MS, Signer, claims

US, OTHER = Signer.numbered(1), Signer.numbered(2)
ORDER = 2**252 + 27742317777372353535851937790883648493
"""L, the order of the group of Ed25519 (RFC 8032, 5.1)."""
PLAIN, ENCRYPTED = sign(claims(), US.kid, US.private)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def judged(plain: str, encrypted: str, keys: Mapping[str, bytes] = US.keys, **options: Any) -> Any:
    """Return the verdict: what the licence says, or the one word of why not."""
    try:
        return verify(plain, encrypted, keys, **({"now_unix_ms": NOW_MS} | options)).claims
    except LicenseRefused as why:
        refused = why
    assert refused.message.isascii()
    assert 0 < len(refused.message) < 300
    return refused.reason


def with_header(header: str | bytes | dict[str, Any], plain: str = PLAIN, signer: Signer = US) -> str:
    """Return a licence with a header of any kind, signed with a real key."""
    if isinstance(header, dict):
        header = json.dumps(header, separators=(",", ":"), sort_keys=True)
    data = header.encode() if isinstance(header, str) else header
    signed = f"{encode(data)}.{encode(plain.encode())}".encode()
    return f"{encode(data)}..{encode(signer.private.sign(signed))}"


def made(**change: Any) -> tuple[str, str]:
    """Return a licence signed by us that says something else than it should."""
    said = attrs.evolve(claims(), **change)
    return sign(said, US.kid, US.private)


def edited(number: int, text: str) -> str:
    """Return the good licence's text with one field replaced and the signature left as it is."""
    fields = PLAIN.split("|")
    fields[number] = text
    return "|".join(fields)


GOOD = {"alg": "EdDSA", "kid": US.kid, "typ": TYPE}


def test_a_genuine_licence_holds_and_names_its_key() -> None:
    found = verify(PLAIN, ENCRYPTED, US.keys, now_unix_ms=NOW_MS)
    assert isinstance(found.claims, Claims)
    assert write_plain(found.claims) == PLAIN
    assert found.kid == US.kid


def test_encrypted_is_a_detached_jws_with_the_documented_header() -> None:
    header, payload, signature = ENCRYPTED.split(".")
    padded = header + "=" * (-len(header) % 4)
    assert base64.urlsafe_b64decode(padded).decode() == f'{{"alg":"EdDSA","kid":"{US.kid}","typ":"ggo-lic+v1"}}'
    assert (payload, len(signature), len(ENCRYPTED)) == ("", 86, 203)


def test_the_algorithm_is_taken_by_its_new_name_too() -> None:
    assert (
        judged(PLAIN, with_header(GOOD | {"alg": "Ed25519"}))
        == verify(PLAIN, ENCRYPTED, US.keys, now_unix_ms=NOW_MS).claims
    )


# --- what it says -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "agent-2"), (1, "team"), (2, str(NOW_MS + 10**10)), (4, str(NOW_MS - 1)), (5, "800"), (6, "1600"), (7, "x")],
)
def test_an_edited_field_breaks_the_signature(number: int, text: str) -> None:
    assert judged(edited(number, text), ENCRYPTED) == "signature"


@pytest.mark.parametrize(("number", "text"), [(2, "0" + str(NOW_MS)), (3, "2"), (5, "08"), (5, "\u0668"), (0, "a b")])
def test_another_spelling_of_a_field_is_refused_before_the_signature_is_looked_at(number: int, text: str) -> None:
    plain = edited(number, text)
    assert judged(plain, with_header(GOOD, plain)) == "malformed"


def test_the_signature_of_one_licence_does_not_fit_another() -> None:
    plain, _ = sign(claims("agent-2"), US.kid, US.private)
    assert judged(plain, ENCRYPTED) == "signature"


def test_a_licence_for_another_agent_is_refused_where_the_agent_is_known() -> None:
    assert judged(PLAIN, ENCRYPTED, agent_id="agent-1") != "agent"
    for other in ("agent-2", "AGENT-1", "agent-1 ", "", "agent"):
        assert judged(PLAIN, ENCRYPTED, agent_id=other) == "agent"


# --- time ---------------------------------------------------------------------------------------------------------


def test_a_licence_holds_to_the_last_millisecond_and_not_at_its_expiry() -> None:
    ends = NOW_MS + LIFETIME_MS
    assert isinstance(judged(PLAIN, ENCRYPTED, now_unix_ms=ends - 1), Claims)
    assert judged(PLAIN, ENCRYPTED, now_unix_ms=ends) == "expired"
    assert judged(PLAIN, ENCRYPTED, now_unix_ms=ends + 10**12) == "expired"


def test_a_licence_from_the_future_is_refused_beyond_the_skew_of_clocks() -> None:
    assert isinstance(judged(PLAIN, ENCRYPTED, now_unix_ms=NOW_MS - SKEW_MS), Claims)
    assert judged(PLAIN, ENCRYPTED, now_unix_ms=NOW_MS - SKEW_MS - 1) == "not_yet"
    assert judged(PLAIN, ENCRYPTED, now_unix_ms=0) == "not_yet"


@pytest.mark.parametrize("lifetime_ms", [LIFETIME_MS + 1, LIFETIME_MS - 1, 0, 10**12])
def test_a_licence_of_another_lifetime_is_refused_even_with_our_own_signature(lifetime_ms: int) -> None:
    plain, encrypted = made(expires_unix_ms=NOW_MS + lifetime_ms)
    assert judged(plain, encrypted) == "lifetime"


def test_a_licence_that_expires_before_it_was_issued_is_refused() -> None:
    plain, encrypted = made(expires_unix_ms=NOW_MS - 1)
    assert judged(plain, encrypted) == "lifetime"


@pytest.mark.parametrize("issued_unix_ms", [2**31 * 1000 - 1, 2**31 * 1000, 2**32 * 1000 + 1])
def test_a_licence_across_the_end_of_32_bit_time_holds(issued_unix_ms: int) -> None:
    plain, encrypted = sign(claims(issued_unix_ms=issued_unix_ms), US.kid, US.private)
    assert isinstance(judged(plain, encrypted, now_unix_ms=issued_unix_ms + LIFETIME_MS - 1), Claims)
    assert judged(plain, encrypted, now_unix_ms=issued_unix_ms + LIFETIME_MS) == "expired"


# --- keys ---------------------------------------------------------------------------------------------------------


def test_a_foreign_key_under_our_key_id_is_refused() -> None:
    assert judged(PLAIN, with_header(GOOD, signer=OTHER)) == "signature"


def test_two_appliances_with_an_agent_of_the_same_id_do_not_take_each_others_licences() -> None:
    plain, encrypted = sign(claims(), OTHER.kid, OTHER.private)
    assert judged(plain, encrypted) == "unknown_key"
    assert isinstance(judged(plain, encrypted, OTHER.keys), Claims)


def test_an_unknown_key_and_one_that_is_gone_are_refused_alike() -> None:
    before = {**US.keys, **OTHER.keys}
    plain, encrypted = sign(claims(), OTHER.kid, OTHER.private)
    assert isinstance(judged(plain, encrypted, before), Claims)
    assert judged(plain, encrypted, US.keys) == "unknown_key"
    assert judged(plain, encrypted, {}) == "unknown_key"


def test_swapping_the_key_id_for_another_that_is_known_is_refused() -> None:
    both = {**US.keys, **OTHER.keys}
    _, _, signature = ENCRYPTED.split(".")
    swapped = f"{encode(json.dumps(GOOD | {'kid': OTHER.kid}, separators=(',', ':')).encode())}..{signature}"
    assert judged(PLAIN, swapped, both) == "signature"
    assert judged(PLAIN, with_header(GOOD | {"kid": OTHER.kid}), both) == "signature"


@pytest.mark.parametrize(
    "kid", ["", "../../etc/passwd", "a" * 65, "a b", "\u00e9", 7, None, ["a"], {"a": 1}, US.kid + "="]
)
def test_a_key_id_of_another_form_is_refused(kid: Any) -> None:
    assert judged(PLAIN, with_header(GOOD | {"kid": kid})) == "header"


# --- header -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", None, "HS256", "ES256", "RS256", "eddsa", "Ed448", ["EdDSA"]]
)
def test_any_other_algorithm_is_refused_even_with_a_good_signature(alg: Any) -> None:
    with pytest.raises(LicenseRefused, match="only EdDSA") as refused:
        verify(PLAIN, with_header(GOOD | {"alg": alg}), US.keys, now_unix_ms=NOW_MS)
    assert refused.value.reason == "header"


def test_alg_none_without_a_signature_is_refused() -> None:
    header = encode(json.dumps(GOOD | {"alg": "none"}, separators=(",", ":")).encode())
    assert judged(PLAIN, f"{header}..") == "malformed"


def test_hs256_with_the_public_key_as_the_secret_is_refused() -> None:
    header = encode(json.dumps(GOOD | {"alg": "HS256"}, separators=(",", ":")).encode())
    for secret in (US.public, encode(US.public).encode()):
        mac = hmac.new(secret, f"{header}.{encode(PLAIN.encode())}".encode(), hashlib.sha256).digest()
        assert judged(PLAIN, f"{header}..{encode(mac)}") == "malformed"
        assert judged(PLAIN, f"{header}..{encode(mac + mac)}") == "header"


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "ggo-lic+v2", "GGO-LIC+V1", "", None, 1])
def test_a_token_of_another_type_is_refused(typ: Any) -> None:
    assert judged(PLAIN, with_header(GOOD | {"typ": typ})) == "header"


def test_a_token_without_a_type_is_refused() -> None:
    assert judged(PLAIN, with_header({"alg": "EdDSA", "kid": US.kid})) == "header"


@pytest.mark.parametrize(
    "further",
    [
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": encode(OTHER.public)}},
        {"x5c": ["MIIB"]},
        {"jku": "https://example.net/jwks.json"},
        {"x5u": "https://example.net/key.pem"},
        {"crit": ["exp"]},
        {"b64": False},
        {"b64": False, "crit": ["b64"]},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"nonce": ""},
    ],
)
def test_any_further_member_of_the_header_is_refused_and_named(further: dict[str, Any]) -> None:
    for signer in (US, OTHER):
        with pytest.raises(LicenseRefused, match=next(iter(further))) as refused:
            verify(PLAIN, with_header(GOOD | further, signer=signer), US.keys, now_unix_ms=NOW_MS)
        assert refused.value.reason == "header"


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (f'{{"alg":"EdDSA","alg":"none","kid":"{US.kid}","typ":"{TYPE}"}}', "twice"),
        (f'{{"alg":"none","alg":"EdDSA","kid":"{US.kid}","typ":"{TYPE}"}}', "twice"),
        (f'{{"alg":"EdDSA","kid":"{OTHER.kid}","kid":"{US.kid}","typ":"{TYPE}"}}', "twice"),
        (f'{{"kid":"{US.kid}","alg":"EdDSA","typ":"{TYPE}"}}', "in this order"),
        (f'{{ "alg":"EdDSA","kid":"{US.kid}","typ":"{TYPE}"}}', "without spaces"),
        (f'{{"alg":"EdDSA","kid":"{US.kid}","typ":"{TYPE}"}}\n', "without spaces"),
        (f'{{"\\u0061lg":"EdDSA","kid":"{US.kid}","typ":"{TYPE}"}}', "escapes"),
        (f'[{{"alg":"EdDSA","kid":"{US.kid}","typ":"{TYPE}"}}]', "not a JSON object"),
        ("[]", "algorithm"),
        ('"EdDSA"', "not a JSON object"),
        ("null", "not a JSON object"),
        ("{", "not a JSON object"),
        ("[" * 150, "not a JSON object"),
        (b"\xff\xfe{}", "not a JSON object"),
        (b"\x00", "not a JSON object"),
        (b"", "not a JSON object"),
    ],
)
def test_a_header_that_is_written_otherwise_is_refused(header: str | bytes, told: str) -> None:
    with pytest.raises(LicenseRefused, match=told) as refused:
        verify(PLAIN, with_header(header), US.keys, now_unix_ms=NOW_MS)
    assert refused.value.reason == "header"


def test_a_header_that_was_refused_is_refused_again() -> None:
    forged = with_header(GOOD | {"alg": "none"})
    assert [judged(PLAIN, forged) for _ in range(3)] == ["header"] * 3


# --- form ---------------------------------------------------------------------------------------------------------


def test_a_payload_inside_is_refused_even_where_it_is_the_same() -> None:
    header, _, signature = ENCRYPTED.split(".")
    assert judged(PLAIN, f"{header}.{encode(PLAIN.encode())}.{signature}") == "malformed"
    assert judged(PLAIN, f"{header}.{encode(b'other')}.{signature}") == "malformed"


@pytest.mark.parametrize("length", [*range(0, len(ENCRYPTED), 7), len(ENCRYPTED) - 1])
def test_a_licence_cut_short_is_refused(length: int) -> None:
    assert judged(PLAIN, ENCRYPTED[:length]) in ("malformed", "header")


@pytest.mark.parametrize("change", ["=", "==", "A", "\n", " ", "\x00", ".", "..", "\u0660"])
def test_anything_before_or_after_is_refused(change: str) -> None:
    assert judged(PLAIN, ENCRYPTED + change) == "malformed"
    assert judged(PLAIN, change + ENCRYPTED) in ("malformed", "header")
    header, signature = ENCRYPTED.split("..")
    assert judged(PLAIN, f"{header}{change}..{signature}") in ("malformed", "header")


def test_spare_bits_and_the_other_base64_alphabet_are_refused() -> None:
    header, signature = ENCRYPTED.split("..")
    last = LETTERS.index(signature[-1])
    assert last % 16 == 0  # four spare bits, all zero
    for spare in range(1, 16):
        assert judged(PLAIN, f"{header}..{signature[:-1]}{LETTERS[last + spare]}") == "malformed"
    fields = [sign(claims(), US.kid, US.private) for _ in range(20)]
    plain, encrypted = next(pair for pair in fields if {"-", "_"} & set(pair[1].split("..")[1]))
    header, signature = encrypted.split("..")
    assert judged(plain, f"{header}..{signature.replace('-', '+').replace('_', '/')}") == "malformed"


def test_the_other_form_of_a_signature_s_plus_l_is_refused() -> None:
    header, written = ENCRYPTED.split("..")
    signature = base64.urlsafe_b64decode(written + "==")
    s = int.from_bytes(signature[32:], "little")
    for times in range(1, 16):
        if s + times * ORDER < 2**256:
            other = signature[:32] + (s + times * ORDER).to_bytes(32, "little")
            assert judged(PLAIN, f"{header}..{encode(other)}") == "signature"


@pytest.mark.parametrize("signature", [bytes(64), b"\x01" + bytes(63), b"\xff" * 64])
def test_a_signature_of_small_order_or_without_any_is_refused(signature: bytes) -> None:
    header, _ = ENCRYPTED.split("..")
    assert judged(PLAIN, f"{header}..{encode(signature)}") == "signature"


@pytest.mark.parametrize("size", [1_000, 1_000_000])
def test_a_very_long_input_is_refused_by_its_length(size: int) -> None:
    header, signature = ENCRYPTED.split("..")
    assert judged("A" * size, ENCRYPTED) == "malformed"
    for text in ("A" * size, "." * size, f"{header}..{'A' * size}", f"{'A' * size}..{signature}"):
        with pytest.raises(LicenseRefused, match="too many"):
            verify(PLAIN, text, US.keys, now_unix_ms=NOW_MS)


@given(at=st.integers(0, len(PLAIN) + len(ENCRYPTED) - 1), to=st.integers(0, 255))
def test_a_licence_with_any_byte_changed_fails(at: int, to: int) -> None:
    whole = (PLAIN + ENCRYPTED).encode()
    changed = bytes([*whole[:at], to, *whole[at + 1 :]]).decode("latin-1")
    verdict = judged(changed[: len(PLAIN)], changed[len(PLAIN) :])
    assert (verdict in ("malformed", "header", "unknown_key", "signature")) == (changed.encode("latin-1") != whole)


def test_a_licence_with_any_one_bit_changed_fails() -> None:
    whole = (PLAIN + ENCRYPTED).encode()
    for at in range(len(whole)):
        for bit in range(8):
            changed = bytes([*whole[:at], whole[at] ^ (1 << bit), *whole[at + 1 :]]).decode("latin-1")
            verdict = judged(changed[: len(PLAIN)], changed[len(PLAIN) :])
            assert verdict in ("malformed", "header", "unknown_key", "signature"), (at, bit)


@given(plain=st.text(max_size=40), encrypted=st.text(max_size=40))
def test_no_other_pair_of_texts_holds_or_fails_in_another_way(plain: str, encrypted: str) -> None:
    assert judged(plain, encrypted) == "malformed"
    assert judged(PLAIN, encrypted) in ("malformed", "header")
