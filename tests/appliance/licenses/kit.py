"""An issuer on a database of its own, with a clock that is moved by hand."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import define, frozen
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance import events, licenses
from appliance.database import Database
from appliance.events import EventBus
from appliance.licenses import License, Licenses
from appliance.licenses.claims import Claims, new_claims
from appliance.licenses.jwks import thumbprint
from appliance.settings import LicensesSettings, VendorLicenseSettings
from appliance.testing import SteppingClock

TABLES = {events.OWNER: events.MIGRATIONS, licenses.OWNER: licenses.MIGRATIONS}
HOUR, DAY = 3_600.0, 86_400.0
NOW_MS = 1_795_000_000_000


@frozen
class Signer:
    """A key pair, named as in a key set."""

    private: Ed25519PrivateKey

    @classmethod
    def numbered(cls, number: int) -> "Signer":
        """Return the same key for the same number."""
        return cls(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))

    @property
    def public(self) -> bytes:
        """The public half."""
        return self.private.public_key().public_bytes_raw()

    @property
    def kid(self) -> str:
        """The key's id."""
        return thumbprint(self.public)

    @property
    def keys(self) -> Mapping[str, bytes]:
        """The key set of who trusts this key alone."""
        return {self.kid: self.public}


def claims(agent_id: str = "agent-1", issued_unix_ms: int = NOW_MS) -> Claims:
    """Return what the licence of an agent says."""
    return new_claims(agent_id=agent_id, plan="pro", max_gpus=8, max_workers=16, issued_unix_ms=issued_unix_ms)


@define
class Kit:
    """An issuer, and what it stands on."""

    licenses: Licenses
    database: Database
    bus: EventBus
    clock: SteppingClock
    keys: Path
    settings: LicensesSettings

    async def issue(self, agent_id: str = "agent-1") -> License:
        """Issue a licence of plan pro."""
        return await self.licenses.issue(agent_id=agent_id, plan="pro", max_gpus=8, max_workers=16)

    def states(self) -> list[str]:
        """Return the state of each key, oldest first."""
        return [key.state.value for key in self.licenses.keys]

    def files(self) -> set[str]:
        """Return the ids of the private keys on disk."""
        return {path.name.removeprefix("license-").removesuffix(".pem") for path in self.keys.iterdir()}

    async def again(self) -> None:
        """Take everything over anew, as after a restart."""
        self.licenses = await load(self.database, self.keys, self.bus, self.clock, self)


async def load(database: Database, keys: Path, bus: EventBus, clock: SteppingClock, holder: "Kit | None") -> Licenses:
    """Make an issuer on what is there."""
    settings = LicensesSettings()
    return await Licenses.load(
        database, keys, events=bus, now=clock, settings=lambda: settings if holder is None else holder.settings
    )


@asynccontextmanager
async def issuer(folder: Path, clock: SteppingClock | None = None) -> AsyncIterator[Kit]:
    """Open an issuer that has its first keys."""
    clock = clock or SteppingClock()
    keys = folder / "keys"
    keys.mkdir(mode=0o700, exist_ok=True)
    async with Database.open(folder / "a.db", inline=True, migrations=TABLES, now=clock) as database:
        bus = EventBus(database, clock)
        kit = Kit(await load(database, keys, bus, clock, None), database, bus, clock, keys, LicensesSettings())
        await kit.again()  # so that its settings can be changed
        await kit.licenses.keep()
        yield kit


VENDOR = VendorLicenseSettings(plain="|ee|1784709281000", encrypted="3046022100")
