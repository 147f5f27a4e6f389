"""The certificate of the agents' stream host, and the authority that signs it and can sign nothing else.

Agents are told to trust the authority, so it is made harmless: its certificate permits that one DNS name, no name below
it and no address (RFC 5280, 4.2.1.10: without the address ranges, any address would be permitted), allows no further
authority (pathLen 0), and its key exists only while the two certificates are made: it is never written and dropped
after the signing. Whoever steals the server's key can pretend to be that one host towards these agents, and no more.

Without its key an authority cannot renew what it has signed. So renewal makes a new authority *before* the old one
ends: `PushCertificates.AUTHORITIES` then holds both, agents that are started in the meantime trust both, and the new
one is served only shortly before the old one ends.
"""

import datetime
import os
import re
import shutil
import ssl
import stat
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from attrs import define, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.plugin import ApplianceError, Now, unix_now_us

STREAM_HOST: Final = "sse.tensor-fusion.ai"
"""Compiled into every agent."""

AUTHORITIES: Final = "authorities.pem"
"""The file that agents get as SSL_CERT_FILE."""
AUTHORITY: Final = "authority.pem"
CERTIFICATE: Final = "certificate.pem"
KEY: Final = "key.pem"

VALID_DAYS: Final = 3650
RENEW_DAYS: Final = 365
"""Before its end an authority gets a successor: time for agents to be started with the file that holds both."""
SWITCH_DAYS: Final = 30
"""Before its end a certificate is served no more, if it has a successor."""
EARLY_DAYS: Final = 1
"""Certificates begin before they are made: other hosts' clocks may be behind."""

_GENERATION: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DRAFT: Final = ".draft"
_DAY: Final = datetime.timedelta(days=1)
_PEM: Final = serialization.Encoding.PEM


class PushCertificateUnusable(ApplianceError):
    """The push proxy's certificate or key cannot be read or written, or others may read the key."""


@frozen
class Signing:
    """An authority while it can sign; it exists in memory alone, and only until its host's certificate is made."""

    certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def begin(cls, host: str, *, now_unix_us: int) -> "Signing":
        """Make an authority for one DNS name."""
        key = ec.generate_private_key(ec.SECP256R1())
        # Successors stand in one file: the names tell them apart for people, the key ids for programs.
        name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, f"GPU appliance push, {_time(now_unix_us):%Y-%m-%d}")]
        )
        constraints = x509.NameConstraints(
            permitted_subtrees=[x509.DNSName(host)],
            # A DNS name in a constraint stands for all names below it as well; the dot takes these out.
            excluded_subtrees=[
                x509.DNSName(f".{host}"),
                x509.IPAddress(ip_network("0.0.0.0/0")),
                x509.IPAddress(ip_network("::/0")),
            ],
        )
        public = key.public_key()
        built = (
            _begun(name, name, public, now_unix_us)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(built, key)

    def sign(
        self, names: Sequence[x509.GeneralName], public: ec.EllipticCurvePublicKey, *, now_unix_us: int
    ) -> x509.Certificate:
        """Sign a server's certificate; names that the authority does not permit make it one that nobody accepts."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "GPU appliance push")])
        own_id = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (
            _begun(subject, self.certificate.subject, public, now_unix_us)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_id),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )


@frozen
class Generation:
    """An authority's certificate, and the certificate and key that it has signed for the stream host."""

    folder: Path
    begins_unix_us: int
    ends_unix_us: int

    def days_left(self, now_unix_us: int) -> float:
        """Return for how long it still holds; negative when it is over."""
        return (self.ends_unix_us - now_unix_us) / 86_400e6

    def context(self) -> ssl.SSLContext:
        """Return a server context: TLS 1.2 and later, HTTP/1.1 alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self.folder / CERTIFICATE, self.folder / KEY, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise _unusable(self.folder, f"its certificate and key cannot be used ({error})") from error
        return context


@define(eq=False)
class PushCertificates:
    """What lies in a folder: one generation, two while the older one is being replaced, and the agents' file."""

    folder: Path
    host: str = STREAM_HOST
    now: Now = unix_now_us

    @property
    def authorities(self) -> Path:
        """The file that agents trust: a certificate for each generation."""
        return self.folder / AUTHORITIES

    def ensure(self) -> Generation:
        """Make what is missing, remove what is over, and return the generation to serve; reads and writes files.

        :raises PushCertificateUnusable: something there cannot be used, and is left for a person to look at.
        """
        now = self.now()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            living = self._sweep(now)
            # One that has not begun was made by a clock that ran ahead; it may serve when that time has come.
            if not any(one.begins_unix_us <= now and one.days_left(now) > RENEW_DAYS for one in living):
                living.append(self._make(now))
            self._publish(living)
        except OSError as error:
            raise PushCertificateUnusable(f"{error.filename or self.folder}: {error.strerror}") from error
        begun = [one for one in living if one.begins_unix_us <= now]
        lasting = [one for one in begun if one.days_left(now) > SWITCH_DAYS]
        # The oldest is what most running agents trust.
        return min(lasting or begun, key=lambda one: one.ends_unix_us)

    def _sweep(self, now_unix_us: int) -> list[Generation]:
        living = []
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith(_DRAFT):
                _remove(path)  # of a start that died
            elif _GENERATION.fullmatch(path.name):
                found = _read(path, self.host)
                if found is None or found.days_left(now_unix_us) <= 0:
                    _remove(path)  # another host's, or over
                else:
                    living.append(found)
        return living

    def _make(self, now_unix_us: int) -> Generation:
        signing = Signing.begin(self.host, now_unix_us=now_unix_us)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = signing.sign([x509.DNSName(self.host)], key.public_key(), now_unix_us=now_unix_us)
        authority = signing.certificate
        del signing  # with it goes the authority's key
        serial = f"{authority.serial_number:032x}"[-32:]
        draft = self.folder / f"{_DRAFT}-{serial}"
        draft.mkdir(mode=0o700)
        secret = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        _write_new(draft / KEY, secret, 0o600)
        _write_new(draft / CERTIFICATE, certificate.public_bytes(_PEM), 0o644)
        _write_new(draft / AUTHORITY, authority.public_bytes(_PEM), 0o644)
        done = self.folder / serial
        draft.rename(done)  # all of it is there, or none
        _sync(self.folder)
        made = _read(done, self.host)
        if made is None:
            raise _unusable(done, "what was just written reads back as something else")
        return made

    def _publish(self, living: Sequence[Generation]) -> None:
        ordered = sorted(living, key=lambda one: one.ends_unix_us)
        wanted = b"".join((one.folder / AUTHORITY).read_bytes() for one in ordered)
        if self.authorities.is_file() and not self.authorities.is_symlink() and self.authorities.read_bytes() == wanted:
            return
        draft = self.folder / f"{_DRAFT}-{AUTHORITIES}"
        _write_new(draft, wanted, 0o644)
        draft.rename(self.authorities)
        _sync(self.folder)


def _read(folder: Path, host: str) -> Generation | None:
    """Return a generation; ``None`` if it is for another host."""
    try:
        mode = (folder / KEY).lstat().st_mode
        certificate = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
        authority = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        certificate.verify_directly_issued_by(authority)
    except OSError as error:
        raise _unusable(folder, f"{Path(error.filename or folder).name}: {error.strerror}") from error
    except Exception as error:  # cryptography raises many kinds for damaged files
        raise _unusable(folder, "its certificates are damaged") from error
    if not stat.S_ISREG(mode) or stat.S_IMODE(mode) & 0o077:
        raise PushCertificateUnusable(
            f"others may read the key {folder / KEY}",
            hint=f"chmod 600 it, or remove {folder} if they may have done so: agents then need the new {AUTHORITIES}",
        )
    if list(names) != [x509.DNSName(host)]:
        return None
    ends = min(certificate.not_valid_after_utc, authority.not_valid_after_utc)
    begins = max(certificate.not_valid_before_utc, authority.not_valid_before_utc)
    return Generation(folder, int(begins.timestamp() * 1e6), int(ends.timestamp() * 1e6))


def _unusable(folder: Path, problem: str) -> PushCertificateUnusable:
    return PushCertificateUnusable(
        f"{folder} cannot be used: {problem}",
        hint=f"remove it, and another is made at the next start: agents then need the new {AUTHORITIES}",
    )


def _begun(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now_unix_us: int
) -> x509.CertificateBuilder:
    now = _time(now_unix_us)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLY_DAYS * _DAY)
        .not_valid_after(now + VALID_DAYS * _DAY)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _time(unix_us: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(unix_us / 1e6, tz=datetime.UTC)


def _write_new(path: Path, data: bytes, mode: int) -> None:
    # O_EXCL: a file or link that somebody has put there is never written through.
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode), "wb"
    ) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _no_password() -> str:
    # Without this, OpenSSL would ask on the terminal and the start would hang.
    raise ValueError("the key has a password")
