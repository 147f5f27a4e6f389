"""What the handlers of core's own endpoints are given as ``call.state``."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import frozen

from appliance.audit import Audit
from appliance.clock import Now, unix_now_us
from appliance.credentials.store import Credentials
from appliance.database import Database
from appliance.events import EventBus
from appliance.http.auth import Access
from appliance.inventory.store import Inventory
from appliance.ledger.store import Ledger
from appliance.licenses import Licenses
from appliance.local_agent.service import LocalAgent
from appliance.people.store import People
from appliance.scheduler.service import Scheduler
from appliance.series.service import Series
from appliance.surface import Call


class PluginList(Protocol):
    """The plugins as the API shows and restarts them; run.py has the real one."""

    def items(self) -> Sequence[Mapping[str, Any]]:
        """Return name, version, origin, state and reason of every plugin, in load order."""
        ...

    def restart(self, name: str) -> Awaitable[None]:
        """Start a failed plugin's services again now; raises `NotFound`."""
        ...


@frozen(kw_only=True)
class CoreState:
    """Everything that core's own handlers may use; fields are only ever added."""

    database: Database
    events: EventBus
    series: Series
    inventory: Inventory
    ledger: Ledger
    credentials: Credentials
    people: People
    audit: Audit
    licenses: Licenses
    access: Access
    host_id: str
    """This host in the inventory."""
    public_url: Callable[[], str]
    """Returns the base of links for people, without a trailing slash."""
    now: Now = unix_now_us
    plugins: PluginList | None = None
    settings: Any = None
    """Core's settings in force, an instance of the classes of settings.py."""
    self_registration: Callable[[], bool] = lambda: False
    """``[people] self_registration``, asked at each use: it may change while running."""
    scheduler: Scheduler | None = None
    """Container tasks."""
    agent: LocalAgent | None = None
    """Samples this host; what it read last is there at once."""
    front_page: Callable[[], Callable[[Call[None]], Awaitable[Any]] | None] = lambda: None
    """Returns who answers browsers at ``/``, if any plugin does."""
    about: Callable[[], Mapping[str, Any]] = dict
    """Returns what plugins add to the answer for programs at ``/``."""
    panels: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]] | None = None
    """Fills the dashboard panels of plugins: ``plugin, name, title, rows, note, error``; ``None``: there are none."""
