"""What we sign verifies with software that is not ours: a JOSE library, and the cryptography of Node.js."""

import json
import shutil
import subprocess

import jwt
import pytest
from jwt.api_jws import PyJWS

from appliance.licenses.jwks import encode, key_set
from appliance.licenses.token import TYPE, sign

from .kit import Signer, claims

US, OTHER = Signer.numbered(1), Signer.numbered(2)
NODE = shutil.which("node")

NODE_PROGRAM = """
const crypto = require('node:crypto');
const {keys, licences} = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const verdicts = licences.map(({plain, encrypted}) => {
  const [header, payload, signature] = encrypted.split('.');
  const {alg, kid} = JSON.parse(Buffer.from(header, 'base64url'));
  const jwk = keys.find((one) => one.kid === kid);
  if (payload !== '' || alg !== 'EdDSA' || !jwk) return false;
  const signed = Buffer.from(header + '.' + Buffer.from(plain).toString('base64url'));
  const key = crypto.createPublicKey({key: jwk, format: 'jwk'});
  return crypto.verify(null, signed, key, Buffer.from(signature, 'base64url'));
});
console.log(JSON.stringify(verdicts));
"""


def put_together(plain: str, encrypted: str) -> str:
    """Return the compact JWS: what stands between the dots is base64url of plain."""
    return encrypted.replace("..", f".{encode(plain.encode())}.")


def published_key(kid: str) -> jwt.PyJWK:
    """Return one key out of the key set as it is published."""
    keys = jwt.PyJWKSet.from_json(key_set([OTHER.public, US.public]).body.decode())
    return next(one for one in keys.keys if one.key_id == kid)


def test_a_jose_library_verifies_a_licence_by_the_published_key_set() -> None:
    plain, encrypted = sign(claims(), US.kid, US.private)
    whole = put_together(plain, encrypted)
    header = jwt.get_unverified_header(whole)
    assert header == {"alg": "EdDSA", "kid": US.kid, "typ": TYPE}
    assert PyJWS().decode(whole, published_key(header["kid"]), algorithms=["EdDSA"]) == plain.encode()


def test_a_jose_library_refuses_a_licence_that_was_edited_or_signed_by_another() -> None:
    plain, encrypted = sign(claims(), US.kid, US.private)
    for text, key in ((plain.replace("pro", "all"), published_key(US.kid)), (plain, published_key(OTHER.kid))):
        with pytest.raises(jwt.InvalidSignatureError):
            PyJWS().decode(put_together(text, encrypted), key, algorithms=["EdDSA"])


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_node_verifies_a_licence_and_refuses_one_with_any_byte_of_its_text_changed() -> None:
    assert NODE is not None
    plain, encrypted = sign(claims(), US.kid, US.private)
    wrong = [plain[:at] + ("x" if plain[at] != "x" else "y") + plain[at + 1 :] for at in range(len(plain))]
    licences = [{"plain": text, "encrypted": encrypted} for text in (plain, *wrong)]
    document = {"keys": json.loads(key_set([OTHER.public, US.public]).body)["keys"], "licences": licences}
    done = subprocess.run(
        [NODE, "-e", NODE_PROGRAM], input=json.dumps(document), capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == [True, *[False] * len(wrong)]
