"""The push authority: real verifiers take the stream host from it, and nothing else; its key is nowhere."""

import datetime
import ipaddress
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.clock import unix_now_us
from appliance.testing import SteppingClock
from plugins.gpu_sharing.push_ca import (
    AUTHORITIES,
    AUTHORITY,
    CERTIFICATE,
    KEY,
    STREAM_HOST,
    VALID_DAYS,
    PushCertificates,
    PushCertificateUnusable,
    Signing,
)

DAY_US = 86_400_000_000
FOREIGN = {
    "parent": x509.DNSName("tensor-fusion.ai"),
    "sibling": x509.DNSName("api.tensor-fusion.ai"),
    "child": x509.DNSName(f"deeper.{STREAM_HOST}"),
    "longer": x509.DNSName(f"not{STREAM_HOST}"),
    "other": x509.DNSName("example.net"),
    "any sibling": x509.DNSName("*.tensor-fusion.ai"),
    "any child": x509.DNSName(f"*.{STREAM_HOST}"),
    "IPv4": x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    "IPv6": x509.IPAddress(ipaddress.ip_address("::1")),
}


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def openssl_verify(authority: Path, leaf: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [
        "openssl",
        "verify",
        "-x509_strict",
        "-purpose",
        "sslserver",
        "-CAfile",
        str(authority),
        *more,
        str(leaf),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def handshake(server: ssl.SSLContext, authority: Path, name: str) -> None:
    """Do a TLS handshake in memory; raises what the client thinks of the certificate."""
    context = ssl.create_default_context(cafile=str(authority))
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(back, there, server_hostname=name)
    host = server.wrap_bio(there, back, server_side=True)
    waiting = [client, host]
    while waiting:
        for one in list(waiting):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(one)


def foreign_server(folder: Path, name: x509.GeneralName) -> tuple[ssl.SSLContext, Path, Path]:
    """Let an authority sign a name that it may not; return a server with that, the authority and the leaf."""
    now = unix_now_us()
    signing = Signing.begin(STREAM_HOST, now_unix_us=now)
    key = ec.generate_private_key(ec.SECP256R1())
    authority, leaf, secret = folder / "authority.pem", folder / "leaf.pem", folder / "secret.pem"
    authority.write_bytes(pem(signing.certificate))
    leaf.write_bytes(pem(signing.sign([name], key.public_key(), now_unix_us=now)))
    secret.write_bytes(private_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf, secret)
    return context, authority, leaf


def test_certificate_is_taken_for_the_stream_host_by_openssl_and_python(tmp_path: Path) -> None:
    certificates = PushCertificates(tmp_path)
    served = certificates.ensure()
    found = openssl_verify(certificates.authorities, served.folder / CERTIFICATE, "-verify_hostname", STREAM_HOST)
    assert (found.returncode, found.stderr) == (0, "")
    handshake(served.context(), certificates.authorities, STREAM_HOST)


def test_certificate_is_refused_for_any_other_host(tmp_path: Path) -> None:
    certificates = PushCertificates(tmp_path)
    served = certificates.ensure()
    for name in ("tensor-fusion.ai", f"a.{STREAM_HOST}", "127.0.0.1"):
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            handshake(served.context(), certificates.authorities, name)


def test_certificate_is_refused_by_who_was_not_told_of_the_authority(tmp_path: Path) -> None:
    mine, others = PushCertificates(tmp_path / "mine"), PushCertificates(tmp_path / "others")
    served = mine.ensure()
    others.ensure()
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(served.context(), others.authorities, STREAM_HOST)


@pytest.mark.parametrize("name", FOREIGN.values(), ids=FOREIGN)
def test_any_other_name_that_the_authority_signed_is_refused(tmp_path: Path, name: x509.GeneralName) -> None:
    server, authority, leaf = foreign_server(tmp_path, name)
    found = openssl_verify(authority, leaf)
    assert found.returncode != 0
    assert "subtree violation" in found.stderr
    wanted = str(name.value).replace("*", "any")
    with pytest.raises(ssl.SSLCertVerificationError, match="subtree violation"):
        handshake(server, authority, wanted)


def test_no_other_name_passes_beside_the_right_one(tmp_path: Path) -> None:
    now = unix_now_us()
    signing = Signing.begin(STREAM_HOST, now_unix_us=now)
    names = [x509.DNSName(STREAM_HOST), x509.DNSName("example.net")]
    leaf = signing.sign(names, ec.generate_private_key(ec.SECP256R1()).public_key(), now_unix_us=now)
    (tmp_path / "a.pem").write_bytes(pem(signing.certificate))
    (tmp_path / "l.pem").write_bytes(pem(leaf))
    assert "permitted subtree violation" in openssl_verify(tmp_path / "a.pem", tmp_path / "l.pem").stderr


def test_no_further_authority_passes_below_it(tmp_path: Path) -> None:
    now = unix_now_us()
    signing = Signing.begin(STREAM_HOST, now_unix_us=now)
    key = ec.generate_private_key(ec.SECP256R1())
    start = datetime.datetime.fromtimestamp(now / 1e6, tz=datetime.UTC)
    begun = x509.CertificateBuilder().not_valid_before(start).not_valid_after(start + datetime.timedelta(days=9))
    below_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "below")])
    below = (
        begun.subject_name(below_name)
        .issuer_name(signing.certificate.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(signing._key, hashes.SHA256())
    )
    leaf = (
        begun.subject_name(x509.Name([]))
        .issuer_name(below_name)
        .public_key(key.public_key())
        .serial_number(2)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(STREAM_HOST)]), critical=True)
        .sign(key, hashes.SHA256())
    )
    for name, one in (("a", signing.certificate), ("b", below), ("l", leaf)):
        (tmp_path / f"{name}.pem").write_bytes(pem(one))
    command = ["openssl", "verify", "-CAfile", str(tmp_path / "a.pem"), "-untrusted", str(tmp_path / "b.pem")]
    found = subprocess.run([*command, str(tmp_path / "l.pem")], capture_output=True, text=True, check=False)
    assert "path length constraint exceeded" in found.stderr


def test_constraints_of_the_authority_are_critical(tmp_path: Path) -> None:
    served = PushCertificates(tmp_path).ensure()
    authority = x509.load_pem_x509_certificate((served.folder / AUTHORITY).read_bytes())
    basic = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    names = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert names.critical
    assert names.value.permitted_subtrees == [x509.DNSName(STREAM_HOST)]
    excluded = {str(one.value) for one in names.value.excluded_subtrees or []}
    assert excluded == {f".{STREAM_HOST}", "0.0.0.0/0", "::/0"}


def test_key_of_the_authority_is_nowhere(tmp_path: Path) -> None:
    served = PushCertificates(tmp_path).ensure()
    authority = x509.load_pem_x509_certificate((served.folder / AUTHORITY).read_bytes())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    secret = [path for path in files if b"PRIVATE" in path.read_bytes()]
    assert [path.name for path in secret] == [KEY]
    key = serialization.load_pem_private_key(secret[0].read_bytes(), password=None)
    assert key.public_key() != authority.public_key()
    assert {path.name for path in files} == {KEY, CERTIFICATE, AUTHORITY, AUTHORITIES}


def test_key_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    served = PushCertificates(tmp_path / "push").ensure()
    assert (served.folder / KEY).stat().st_mode & 0o777 == 0o600
    assert served.folder.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "push").stat().st_mode & 0o777 == 0o700


def test_certificate_stays_the_same_from_start_to_start(tmp_path: Path) -> None:
    first = PushCertificates(tmp_path).ensure()
    held = (tmp_path / AUTHORITIES).read_bytes()
    assert PushCertificates(tmp_path).ensure() == first
    assert (tmp_path / AUTHORITIES).read_bytes() == held


def test_successor_is_announced_long_before_it_is_served(tmp_path: Path) -> None:
    clock = SteppingClock(unix_now_us())
    certificates = PushCertificates(tmp_path, now=clock)
    first = certificates.ensure()
    alone = certificates.authorities.read_bytes()
    clock.advance((VALID_DAYS - 366) * 86_400)
    assert certificates.ensure() == first
    assert certificates.authorities.read_bytes() == alone

    clock.advance(2 * 86_400)
    assert certificates.ensure() == first
    both = certificates.authorities.read_bytes()
    assert both.startswith(alone)
    assert both.count(b"BEGIN CERTIFICATE") == 2

    clock.advance(335 * 86_400)
    second = certificates.ensure()
    assert second != first
    assert certificates.authorities.read_bytes() == both
    at = str(clock() // 1_000_000)
    assert openssl_verify(certificates.authorities, second.folder / CERTIFICATE, "-attime", at).returncode == 0

    clock.advance(40 * 86_400)
    assert certificates.ensure() == second
    assert certificates.authorities.read_bytes() == (second.folder / AUTHORITY).read_bytes()
    assert not first.folder.exists()


def test_another_is_made_when_all_are_over(tmp_path: Path) -> None:
    clock = SteppingClock(unix_now_us())
    certificates = PushCertificates(tmp_path, now=clock)
    first = certificates.ensure()
    clock.advance((VALID_DAYS + 1) * 86_400)
    second = certificates.ensure()
    assert second != first
    assert second.days_left(clock()) > VALID_DAYS - 1


def test_certificate_of_a_clock_that_ran_ahead_is_not_served(tmp_path: Path) -> None:
    ahead = PushCertificates(tmp_path, now=lambda: unix_now_us() + 400 * DAY_US).ensure()
    served = PushCertificates(tmp_path).ensure()
    assert served != ahead
    assert openssl_verify(tmp_path / AUTHORITIES, served.folder / CERTIFICATE).returncode == 0


def test_certificate_of_another_host_is_replaced(tmp_path: Path) -> None:
    PushCertificates(tmp_path, host="events.example.net").ensure()
    certificates = PushCertificates(tmp_path)
    served = certificates.ensure()
    handshake(served.context(), certificates.authorities, STREAM_HOST)
    assert certificates.authorities.read_bytes().count(b"BEGIN CERTIFICATE") == 1


def test_rest_of_a_start_that_died_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".draft-0123").mkdir()
    (tmp_path / ".draft-0123" / KEY).write_text("half a k")
    (tmp_path / f".draft-{AUTHORITIES}").write_text("half")
    PushCertificates(tmp_path).ensure()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_link_in_place_of_the_agents_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    folder = tmp_path / "push"
    folder.mkdir(mode=0o700)
    (folder / AUTHORITIES).symlink_to(target)
    PushCertificates(folder).ensure()
    assert target.read_text() == "mine"
    assert not (folder / AUTHORITIES).is_symlink()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_key_that_others_may_read_is_not_served(tmp_path: Path, mode: int) -> None:
    served = PushCertificates(tmp_path).ensure()
    (served.folder / KEY).chmod(mode)
    with pytest.raises(PushCertificateUnusable, match="others may read the key") as refused:
        PushCertificates(tmp_path).ensure()
    assert "chmod 600" in refused.value.hint


@pytest.mark.parametrize("name", [KEY, CERTIFICATE, AUTHORITY])
def test_missing_file_is_named_and_nothing_is_made_over_it(tmp_path: Path, name: str) -> None:
    served = PushCertificates(tmp_path).ensure()
    (served.folder / name).unlink()
    with pytest.raises(PushCertificateUnusable, match=name):
        PushCertificates(tmp_path).ensure()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [served.folder.name]


@pytest.mark.parametrize("name", [CERTIFICATE, AUTHORITY])
def test_damaged_certificate_is_told_in_words(tmp_path: Path, name: str) -> None:
    served = PushCertificates(tmp_path).ensure()
    (served.folder / name).write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(PushCertificateUnusable, match="damaged"):
        PushCertificates(tmp_path).ensure()


def test_certificate_of_another_authority_is_told_in_words(tmp_path: Path) -> None:
    served = PushCertificates(tmp_path / "a").ensure()
    other = PushCertificates(tmp_path / "b").ensure()
    (served.folder / AUTHORITY).write_bytes((other.folder / AUTHORITY).read_bytes())
    with pytest.raises(PushCertificateUnusable, match="damaged"):
        PushCertificates(tmp_path / "a").ensure()


def test_key_of_another_certificate_is_told_in_words(tmp_path: Path) -> None:
    served = PushCertificates(tmp_path).ensure()
    (served.folder / KEY).write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(PushCertificateUnusable, match="cannot be used"):
        served.context()


def test_folder_that_cannot_be_made_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PushCertificateUnusable, match="file"):
        PushCertificates(tmp_path / "file" / "push").ensure()
