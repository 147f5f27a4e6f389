"""Private keys lie in files that nobody else can read, or are not used."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed448

from appliance.licenses.jwks import thumbprint
from appliance.licenses.keys import LicenseKeyRefused, LicenseKeys


def file_of(folder: Path) -> Path:
    """Return the one key file."""
    (path,) = folder.iterdir()
    return path


def test_a_key_is_made_for_us_alone_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        public = LicenseKeys(tmp_path).make()
    finally:
        os.umask(before)
    path = file_of(tmp_path)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert path.name == f"license-{thumbprint(public)}.pem"
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY-----")


def test_a_key_is_found_and_read_again_and_every_key_is_another(tmp_path: Path) -> None:
    keys = LicenseKeys(tmp_path)
    one, two = keys.make(), keys.make()
    assert one != two
    assert keys.kids() == {thumbprint(one), thumbprint(two)}
    assert keys.load(thumbprint(one)).public_key().public_bytes_raw() == one
    assert keys.public(thumbprint(two)) == two


def test_other_secrets_in_the_folder_are_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "audit.key").write_bytes(bytes(32))
    (tmp_path / "audit.key").chmod(0o644)
    assert LicenseKeys(tmp_path).kids() == frozenset()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o601, 0o666])
def test_a_key_that_others_can_get_at_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    keys = LicenseKeys(tmp_path)
    public = keys.make()
    file_of(tmp_path).chmod(mode)
    for use in (keys.kids, lambda: keys.load(thumbprint(public))):
        with pytest.raises(LicenseKeyRefused, match="others can get at") as refused:
            use()
        assert "chmod 600" in refused.value.hint
        assert "--emergency" in refused.value.hint
    assert keys.public(thumbprint(public)) is None


def test_a_link_a_folder_and_a_pipe_in_the_place_of_a_key_are_refused(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "keys", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    keys = LicenseKeys(folder)
    kid = thumbprint(LicenseKeys(elsewhere).make())
    place = folder / f"license-{kid}.pem"
    place.symlink_to(file_of(elsewhere))
    with pytest.raises(LicenseKeyRefused, match="not a file"):
        keys.kids()
    with pytest.raises(LicenseKeyRefused, match="cannot be read"):
        keys.load(kid)
    place.unlink()
    place.mkdir(mode=0o700)
    with pytest.raises(LicenseKeyRefused, match="not a file"):
        keys.load(kid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    keys = LicenseKeys(tmp_path)
    keys.make()
    os.chown(file_of(tmp_path), 12345, 12345)
    with pytest.raises(LicenseKeyRefused, match="belongs to uid 12345"):
        keys.kids()


def test_a_damaged_a_foreign_and_a_missing_key_are_refused(tmp_path: Path) -> None:
    keys = LicenseKeys(tmp_path)
    kid, other = thumbprint(keys.make()), thumbprint(keys.make())
    path = tmp_path / f"license-{kid}.pem"
    whole = path.read_bytes()
    another = (tmp_path / f"license-{other}.pem").read_bytes()
    wrong_kind = ed448.Ed448PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for content, told in ((whole[:40], "damaged"), (b"", "damaged"), (another, "name says"), (wrong_kind, "name says")):
        path.write_bytes(content)
        with pytest.raises(LicenseKeyRefused, match=told):
            keys.load(kid)
    keys.remove(kid)
    with pytest.raises(LicenseKeyRefused, match="cannot be read"):
        keys.load(kid)
    keys.remove(kid)
    assert keys.kids() == {other}
