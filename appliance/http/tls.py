"""TLS for a listener: a given certificate, or one of our own made at first start, with its fingerprint to compare."""

import datetime
import hashlib
import ipaddress
import os
import socket
import ssl
import stat
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.clock import Now, unix_now_us
from appliance.errors import ApplianceError

CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "key.pem"
VALID_DAYS = 3_650
"""Ten years: people compare or pin the fingerprint, and a silent change would teach them to ignore it."""

WARN_DAYS = 14
"""A certificate that ends within so many days is spoken of at the start."""


class CertificateUnusable(ApplianceError):
    """A certificate or key cannot be read, does not fit the other, or its key is readable by others."""


@frozen(kw_only=True)
class Certificate:
    """The files of a certificate that can be served, and what people compare."""

    certificate: Path
    key: Path
    fingerprint: str
    """SHA-256 of the certificate, as browsers show it: ``AB:CD:...``."""
    self_signed: bool

    def context(self) -> ssl.SSLContext:
        """Return a server context: TLS 1.2 and later, HTTP/1.1 alone by ALPN."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise CertificateUnusable(
                f"{self.certificate} and {self.key} cannot be used: {error}",
                hint="give a certificate chain and its key in PEM form, without a password",
            ) from error
        return context


def given(certificate: Path, key: Path) -> Certificate:
    """Check a certificate that somebody else made; raises `CertificateUnusable`."""
    _refuse_readable(key, stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH)  # group-readable keys are a distribution's habit
    checked = Certificate(certificate=certificate, key=key, fingerprint=fingerprint_of(certificate), self_signed=False)
    checked.context()
    return checked


def self_signed(folder: Path, hosts: Iterable[str] = (), *, now: Now = unix_now_us) -> Certificate:
    """Return the certificate in ``folder``, making it (key 0600, ECDSA P-256, ten years) if there is none.

    :param hosts: names and addresses to put in besides this host's name, localhost and the loopback addresses.
    """
    certificate, key = folder / CERTIFICATE_FILE, folder / KEY_FILE
    if not certificate.exists():
        _make(certificate, key, _names(hosts), now_unix_us=now())
    _refuse_readable(key, stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH)
    made = Certificate(certificate=certificate, key=key, fingerprint=fingerprint_of(certificate), self_signed=True)
    made.context()
    return made


def fingerprint_of(certificate: Path) -> str:
    """Return the SHA-256 fingerprint of the first certificate of a PEM file."""
    digest = hashlib.sha256(_read(certificate).public_bytes(serialization.Encoding.DER)).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def _read(certificate: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        raise CertificateUnusable(f"{certificate} is no certificate: {error}", hint="give one in PEM form") from error


def validity_problem(certificate: Path, *, now_unix_us: int) -> str | None:
    """Return in words that a certificate has ended, does so within 14 days or has not begun; ``None`` when it is good.

    :raises CertificateUnusable: it cannot be read (any more).
    """
    first = _read(certificate)
    now = datetime.datetime.fromtimestamp(now_unix_us / 1_000_000, tz=datetime.UTC)
    ends = first.not_valid_after_utc
    if now < first.not_valid_before_utc:
        return f"the certificate {certificate} is not valid before {first.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    if ends <= now:
        return f"the certificate {certificate} has expired on {ends:%Y-%m-%d %H:%M} UTC"
    if ends - now < datetime.timedelta(days=WARN_DAYS):
        return f"the certificate {certificate} expires on {ends:%Y-%m-%d %H:%M} UTC"
    return None


def _make(certificate: Path, key: Path, names: list[x509.GeneralName], *, now_unix_us: int) -> None:
    """Write the key, then the certificate: a certificate there means that both are whole."""
    certificate.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, socket.gethostname()[:64] or "appliance")])
    start = datetime.datetime.fromtimestamp(now_unix_us / 1_000_000, tz=datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - datetime.timedelta(days=1))  # clients' clocks may be behind
        .not_valid_after(start + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        # It signs nothing but itself, whoever may have it trusted.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    form = serialization.Encoding.PEM
    secret = private.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key.unlink(missing_ok=True)  # of a start that died between the two files
    _write_new(key, secret, 0o600)
    draft = certificate.with_suffix(".new")
    draft.unlink(missing_ok=True)
    _write_new(draft, built.public_bytes(form), 0o644)
    draft.rename(certificate)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    # O_EXCL: a file or link that somebody has put there is never written through.
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CertificateUnusable(f"{path} cannot be written: {error.strerror}") from error


def _names(hosts: Iterable[str]) -> list[x509.GeneralName]:
    texts = dict.fromkeys(["localhost", "127.0.0.1", "::1", socket.gethostname(), *hosts])
    names: list[x509.GeneralName] = []
    for text in texts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(text)))
        except ValueError:
            if text and text.isascii():
                names.append(x509.DNSName(text))
    return names


def _refuse_readable(key: Path, bits: int) -> None:
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise CertificateUnusable(f"the key {key} cannot be read: {error.strerror}") from error
    if mode & bits:
        raise CertificateUnusable(f"others may read or write the key {key}", hint=f"chmod 600 {key}")


def _no_password() -> str:
    # Without this, OpenSSL would ask on the terminal and the start would hang.
    raise ValueError("the key has a password")
