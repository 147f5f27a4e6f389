"""Core's own parts on an open database: who may do what, what is known, what has happened."""

from typing import Any, TypedDict

from attrs import asdict, frozen

from appliance import audit, events, licenses
from appliance.audit import Audit, AuditKeeper
from appliance.credentials import store as credentials_store
from appliance.credentials.store import Credentials
from appliance.data_folder import DataFolder, task_folder
from appliance.database import AliveWriter, Database, went_down_at
from appliance.events import EventBus
from appliance.http.audited import RequestAudit
from appliance.inventory import store as inventory_store
from appliance.inventory.service import LivenessWriter
from appliance.inventory.store import Inventory
from appliance.ledger import store as ledger_store
from appliance.ledger.service import LeaseKeeper
from appliance.ledger.store import Ledger
from appliance.licenses import LicenseKeeper, Licenses
from appliance.migrations import Migration
from appliance.notices import MIGRATIONS as NOTICES_MIGRATIONS
from appliance.notices import OWNER as NOTICES_OWNER
from appliance.notices import Notices
from appliance.people import store as people_store
from appliance.people.store import People
from appliance.run.options import Options
from appliance.scheduler import schema as scheduler_schema
from appliance.scheduler.service import Scheduler
from appliance.series import schema as series_schema
from appliance.series.limits import Retention
from appliance.series.service import Series
from appliance.service import Service
from appliance.settings import LiveSettings, Settings

MIGRATIONS: dict[str, tuple[Migration, ...]] = {
    events.OWNER: events.MIGRATIONS,
    audit.OWNER: audit.MIGRATIONS,
    credentials_store.OWNER: credentials_store.MIGRATIONS,
    people_store.OWNER: people_store.MIGRATIONS,
    inventory_store.OWNER: inventory_store.MIGRATIONS,
    ledger_store.OWNER: ledger_store.MIGRATIONS,
    series_schema.OWNER: series_schema.MIGRATIONS,
    NOTICES_OWNER: NOTICES_MIGRATIONS,
    licenses.OWNER: licenses.MIGRATIONS,
    scheduler_schema.OWNER: scheduler_schema.MIGRATIONS,
}
"""Core's own tables by owner, in the order in which they are brought up."""


class Shared(TypedDict):
    """The parts of core that plugins and core's own endpoints are given alike, under the same names."""

    database: Database
    events: EventBus
    series: Series
    inventory: Inventory
    ledger: Ledger
    scheduler: Scheduler
    credentials: Credentials
    people: People
    audit: Audit
    notices: Notices
    licenses: Licenses
    host_id: str


@frozen(kw_only=True)
class CoreParts:
    """Everything of core that lives as long as the database is open."""

    database: Database
    host_id: str
    events: EventBus
    audit: Audit
    request_audit: RequestAudit
    credentials: Credentials
    people: People
    inventory: Inventory
    ledger: Ledger
    scheduler: Scheduler
    series: Series
    notices: Notices
    licenses: Licenses
    services: tuple[Service, ...]
    """What must run for the parts to do their work."""

    def shared(self) -> Shared:
        """Return what `Core` and `ApplianceState` have of these, to be passed on with ``**``."""
        return Shared(
            database=self.database,
            events=self.events,
            series=self.series,
            inventory=self.inventory,
            ledger=self.ledger,
            scheduler=self.scheduler,
            credentials=self.credentials,
            people=self.people,
            audit=self.audit,
            notices=self.notices,
            licenses=self.licenses,
            host_id=self.host_id,
        )


async def open_core(database: Database, folder: DataFolder, settings: LiveSettings, options: Options) -> CoreParts:
    """Make core's parts on a migrated database."""
    now = options.now
    host_id = folder.instance_id()
    went_down = went_down_at(database)
    bus = EventBus(database, now)
    log = Audit(database, folder.keys, now)
    credentials = await Credentials.load(database, now=now)
    everyone = await People.load(database, credentials, now=now, passwords=options.passwords)
    inventory = Inventory(database, local_host_id=host_id)
    bookings = await Ledger.load(database, inventory, now, went_down_at_unix_us=went_down)
    series = Series(database, now)
    settings.watch(lambda changed: _retain(series, changed))
    notices = Notices(database, bus, now)
    issuer = await Licenses.load(database, folder.keys, events=bus, now=now, settings=lambda: settings.current.licenses)
    request_audit = RequestAudit(log)
    return CoreParts(
        database=database,
        host_id=host_id,
        events=bus,
        audit=log,
        request_audit=request_audit,
        credentials=credentials,
        people=everyone,
        inventory=inventory,
        ledger=bookings,
        scheduler=Scheduler(
            database,
            events=bus,
            inventory=inventory,
            ledger=bookings,
            folder=task_folder(settings.current.scheduler.files_folder, folder),
            settings=lambda: settings.current.scheduler,
            now=now,
            host_id=host_id,
        ),
        series=series,
        notices=notices,
        licenses=issuer,
        services=(
            AliveWriter(database, now),
            credentials,
            AuditKeeper(log),
            request_audit,
            LivenessWriter(inventory),
            LeaseKeeper(bookings),
            series,
            notices,
            LicenseKeeper(issuer),
        ),
    )


def _retain(series: Series, settings: Settings) -> None:
    kept: dict[str, Any] = asdict(settings.series)
    series.retention = Retention(**kept)
