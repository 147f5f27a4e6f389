import hashlib
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest

from appliance.http.tls import CERTIFICATE_FILE, KEY_FILE, CertificateUnusable, given, self_signed, validity_problem


def test_first_start_makes_a_key_for_us_alone_and_later_starts_keep_it(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    made = self_signed(folder, ["gpu-box.lan", "10.0.0.5"])
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    again = self_signed(folder, ["another.lan"])
    assert (again.fingerprint, again.self_signed) == (made.fingerprint, True)


def test_half_made_certificate_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("cut off")
    (tmp_path / "certificate.new").write_text("cut off")
    assert self_signed(tmp_path).fingerprint


@pytest.mark.parametrize("name", ["localhost", "gpu-box.lan", "10.0.0.5", "127.0.0.1"])
def test_client_that_pins_the_certificate_connects_to_every_name_in_it(tmp_path: Path, name: str) -> None:
    made = self_signed(tmp_path, ["gpu-box.lan", "10.0.0.5"])
    ours, theirs = socket.socketpair()
    seen: list[str | None] = []

    def serve() -> None:
        with made.context().wrap_socket(ours, server_side=True) as server:
            seen.append(server.version())
            server.send(b"x")

    thread = threading.Thread(target=serve)
    thread.start()
    context = ssl.create_default_context(cafile=str(made.certificate))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(theirs, server_hostname=name) as client:
        assert client.recv(1) == b"x"
        assert client.selected_alpn_protocol() == "http/1.1"
        der = client.getpeercert(binary_form=True)
    thread.join()
    assert der is not None
    assert hashlib.sha256(der).hexdigest() == made.fingerprint.replace(":", "").lower()
    assert seen == ["TLSv1.3"]


def test_link_put_in_the_key_s_place_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    folder = tmp_path / "tls"
    folder.mkdir()
    (folder / KEY_FILE).symlink_to(victim)
    self_signed(folder)
    assert victim.read_text() == "untouched"
    assert not (folder / KEY_FILE).is_symlink()


def test_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    made = self_signed(tmp_path)
    made.key.chmod(0o640)
    with pytest.raises(CertificateUnusable) as caught:
        self_signed(tmp_path)
    assert "chmod 600" in caught.value.hint
    given(made.certificate, made.key)  # the group that reads it is the operator's own choice
    made.key.chmod(0o644)
    with pytest.raises(CertificateUnusable):
        given(made.certificate, made.key)


def test_given_pair_is_checked_before_it_is_served(tmp_path: Path) -> None:
    one, other = self_signed(tmp_path / "one"), self_signed(tmp_path / "other")
    assert given(one.certificate, one.key).fingerprint == one.fingerprint
    with pytest.raises(CertificateUnusable):
        given(one.certificate, other.key)
    with pytest.raises(CertificateUnusable):
        given(tmp_path / "absent.pem", one.key)
    with pytest.raises(CertificateUnusable):
        given(one.certificate, tmp_path / "absent.pem")
    damaged = tmp_path / CERTIFICATE_FILE
    damaged.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(CertificateUnusable):
        given(damaged, one.key)


def test_key_with_a_password_is_refused_instead_of_asking_for_it(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    made = self_signed(tmp_path)
    key = serialization.load_pem_private_key(made.key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    locked.chmod(0o600)
    with pytest.raises(CertificateUnusable):
        given(made.certificate, locked)


@pytest.mark.parametrize(
    ("days", "words"),
    [(-2, "not valid before"), (1, None), (3_635, None), (3_637, "expires on"), (3_651, "has expired")],
)
def test_certificate_out_of_its_time_or_soon_so_is_told(tmp_path: Path, days: int, words: str | None) -> None:
    made_us = 1_795_000_000_000_000
    made = self_signed(tmp_path / "tls", now=lambda: made_us)
    told = validity_problem(made.certificate, now_unix_us=made_us + days * 86_400_000_000)
    assert told is None if words is None else words in (told or "")
