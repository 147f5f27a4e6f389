"""What a plugin's setup is given (`Core`) and gives back (`Parts`)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from appliance.audit import Audit
from appliance.clock import Now
from appliance.commands import Command
from appliance.credentials.store import Credentials
from appliance.database import Database
from appliance.events import Events
from appliance.host import Host
from appliance.inventory.store import Inventory
from appliance.ledger.store import Ledger
from appliance.licenses import Licenses
from appliance.notices import Notices
from appliance.people.store import People
from appliance.prometheus import ScrapedHost
from appliance.scheduler.service import Scheduler
from appliance.series.service import Series
from appliance.service import Service
from appliance.surface import BoundSurface, Call, Cookie


@frozen(kw_only=True)
class Core:
    """What core offers a plugin, for as long as it runs."""

    name: str
    """The plugin's own name."""
    settings: Any
    """An instance of the class that ``appliance_settings`` returned, or ``None``."""
    database: Database
    events: Events
    series: Series
    inventory: Inventory
    ledger: Ledger
    scheduler: Scheduler
    """Container tasks: submits, places, watches and ends them."""
    credentials: Credentials
    people: People
    audit: Audit
    notices: Notices
    licenses: Licenses
    host: Host
    now: Now
    host_id: str
    """This host in the inventory."""
    public_url: Callable[[], str]
    """Returns the base of absolute URLs, without a trailing slash."""
    end_session: Callable[[Call[Any]], Awaitable[tuple[Cookie, ...]]]
    """Ends the session that a request carries, if it does; returns the cookies that its answer must set."""
    folder: Path
    """The plugin's own folder below the data directory; it exists."""


@frozen(kw_only=True)
class PanelRow:
    """One line of a dashboard panel."""

    label: str
    value: str
    percent: float | None = None
    """Drawn as a bar when set."""
    level: str = "info"
    """``info``, ``warning`` or ``critical``."""


@frozen(kw_only=True)
class PanelContent:
    """What a panel shows now."""

    rows: Sequence[PanelRow] = ()
    note: str = ""


@frozen(kw_only=True)
class Panel:
    """A card that a plugin puts on the dashboard's overview."""

    name: str
    """Unique within the plugin."""
    title: str
    read: Callable[[], PanelContent | Awaitable[PanelContent]]
    """Called when the overview is shown, at most once in ``refresh_seconds``; a raise shows in its card only."""
    refresh_seconds: float = 5.0


@frozen(kw_only=True)
class Readiness:
    """One line of ``/readyz``."""

    name: str
    check: Callable[[], str | None]
    """Returns ``None`` when ready, else what is wrong in plain words; must not block."""


@frozen(kw_only=True)
class Parts:
    """What a plugin adds; everything is optional."""

    surfaces: Sequence[BoundSurface] = ()
    services: Sequence[Service] = ()
    panels: Sequence[Panel] = ()
    readiness: Sequence[Readiness] = ()
    prometheus: Sequence[Callable[[], str | Sequence[ScrapedHost]]] = ()
    """Each is called for every scrape and must not block.

    It returns a section of ``/metrics`` in the Prometheus text format, whose families nobody else may write; such
    sections are left out where dcgm-exporter's names are asked for. Or it returns hosts: core writes their figures
    together with those of this host, by the names that are asked for, so that no family comes twice. A raise costs this
    section only.
    """
    front_page: Callable[[Call[None]], Awaitable[Any]] | None = None
    """Answers browsers at ``/``; the first plugin that has one does."""
    about: Callable[[], Mapping[str, Any]] | None = None
    """Adds to what programs are told at ``/``, such as the versions and routes that a client looks for."""
    runs_as_us: str = ""
    """What runs as the appliance's own user though it is started for others, in words; empty for nothing.

    Nobody of that user is trusted then: a request of its own could not be told from one of theirs.
    """
    notice_targets: Mapping[str, Callable[[Any], Awaitable[None]]] = field(factory=dict)


__all__ = ["Command", "Core", "Panel", "PanelContent", "PanelRow", "Parts", "Readiness"]
