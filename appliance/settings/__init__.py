"""Core's own tables of the configuration: one attrs class each, with the unit in every name.

Every field is made by `setting` and says, in one sentence, what it does, and whether a reload applies it (``live``)
or a restart does. The file ``config/appliance.toml`` is generated from these classes.
"""

from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_network
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import attrs
from attrs import evolve, field, fields, frozen
from attrs.validators import and_, deep_iterable, ge, le

from appliance.listeners import Address, parse_address
from appliance.settings.declared import ENVIRONMENT, HELP, RELOAD, SECRET, Reload, setting, text_rule
from appliance.settings.scheduler import QuotaSettings, SchedulerSettings, VolumeSettings

DEFAULT_ADDRESS: Final = "127.0.0.1:8080"


def _check_public_url(value: str) -> None:
    url = urlsplit(value)
    if value and (url.scheme not in {"http", "https"} or not url.hostname or url.query or url.fragment):
        raise ValueError("http:// or https:// with a host name and no query, or an empty text")


def _check_host(value: str) -> None:
    bracketed = value.startswith("[") and value.endswith("]")
    if not value or (not bracketed and any(mark in value for mark in "/:@ ")):
        raise ValueError("a host name or address, without scheme and port")


def _check_origin(value: str) -> None:
    url = urlsplit(value)
    if url.scheme not in {"http", "https"} or not url.hostname or url.path or url.query or url.fragment:
        raise ValueError("an origin such as https://gpu.example.net, without a path")


def _check_network(value: str) -> None:
    try:
        ip_network(value)
    except ValueError as error:
        raise ValueError(f"a network such as 10.1.0.0/16 ({error})") from error


def _check_mode(value: str) -> None:
    if not (len(value) == 4 and value.startswith("0") and all(digit in "01234567" for digit in value)):
        raise ValueError('an octal mode such as "0660"')


@frozen(kw_only=True)
class ServerSettings:
    """How the appliance presents itself on the network."""

    public_url: str = setting(
        "",
        help="Base of absolute links and printed command lines: https://gpu.example.net; empty: the listener's.",
        reload="live",
        validator=text_rule(_check_public_url),
    )
    hosts: tuple[str, ...] = setting(
        (),
        help="Further host names under which requests may reach this appliance.",
        reload="live",
        validator=deep_iterable(text_rule(_check_host)),
    )
    allowed_origins: tuple[str, ...] = setting(
        (),
        help="Origins of other web pages that may call this appliance.",
        reload="live",
        validator=deep_iterable(text_rule(_check_origin)),
    )
    proxies: tuple[str, ...] = setting(
        (),
        help="Networks of reverse proxies: their connections are not counted per address.",
        validator=deep_iterable(text_rule(_check_network)),
    )
    connections_per_address: int = setting(
        256, help="How many connections one address may hold; loopback and proxies are not counted.", validator=ge(1)
    )
    drain_seconds: float = setting(
        10.0,
        help="How long requests in flight may go on after a stop request.",
        validator=and_(ge(0), le(3600)),
    )


@frozen(kw_only=True)
class ListenerSettings:
    """One address to listen on; any [[listeners]] replaces the default one at 127.0.0.1:8080."""

    address: str = setting(
        help="HOST:PORT, [IPV6]:PORT or unix:/PATH; port 0 takes any free one.",
        validator=text_rule(parse_address),
    )
    surfaces: tuple[str, ...] = setting((), help="Names of the surfaces served here; empty: all that are enabled.")
    trust: Literal["auto", "owner", "local", "none"] = setting(
        "auto",
        help="Whom to trust without a credential: owner (programs of our own user), local (any program of this host) or"
        " none; auto: owner on loopback and unix sockets, else none.",
    )
    tls: bool = setting(False, help="Speak TLS, with the certificate named below or one made at the first start.")
    certificate: str = setting("", help="File of the TLS certificate and its chain, PEM; empty: one of our own making.")
    key: str = setting("", help="File of the certificate's private key, PEM.")
    site: str = setting("", help="Folder of another web front end to serve here in place of our own pages.")
    mode: str = setting("0600", help="Permissions of a unix socket, octal.", validator=text_rule(_check_mode))
    group: str = setting("", help="Group that a unix socket is given to; empty: our own.")

    @property
    def parsed(self) -> Address:
        """The address, taken apart."""
        return parse_address(self.address)

    @property
    def trust_in_force(self) -> Literal["owner", "local", "none"]:
        """The trust as written; for ``auto`` what fits this address."""
        if self.trust != "auto":
            return self.trust
        return "owner" if self.parsed.is_loopback else "none"


@frozen(kw_only=True)
class LoadingSettings:
    """Where plugins come from besides those that are shipped."""

    folder: str = setting("", help="Folder into which plugins are dropped; empty: plugins/ in the data directory.")
    site: str = setting("", help="A further site-packages folder whose installed packages may bring plugins.")
    required: tuple[str, ...] = setting((), help="Plugins without which the appliance refuses to start.")


@frozen(kw_only=True)
class DevicesSettings:
    """How this host and its devices are watched."""

    sample_seconds: float = setting(
        2.0, help="Time between two samples.", reload="live", validator=and_(ge(0.1), le(3600))
    )


@frozen(kw_only=True)
class SeriesSettings:
    """How long history is kept."""

    raw_hours: float = setting(48.0, help="Samples as they were taken.", reload="live", validator=ge(2))
    ten_seconds_days: float = setting(7.0, help="Minimum, maximum and mean of 10 s.", reload="live", validator=ge(1))
    one_minute_days: float = setting(31.0, help="The same of one minute.", reload="live", validator=ge(1))
    ten_minutes_days: float = setting(366.0, help="The same of ten minutes.", reload="live", validator=ge(1))
    one_hour_days: float = setting(1830.0, help="The same of one hour.", reload="live", validator=ge(1))
    disk_budget_bytes: int = setting(
        20 * 2**30,
        help="Size of the database above which the oldest and finest history goes first.",
        reload="live",
        validator=ge(64 * 2**20),
    )


@frozen(kw_only=True)
class PeopleSettings:
    """Who may get an account, and keys of operators that are fixed from outside."""

    self_registration: bool = setting(False, help="Let anybody make an account; it may only look.", reload="live")
    admin_key: str = setting(
        "",
        help="A fixed key for the X-Admin-Key header, which acts as operator; at least 16 characters, empty: none.",
        reload="live",
        environment=("ADMIN_KEY", "ADMIN_SECRET"),
        secret=True,
    )

    @admin_key.validator
    def _check_admin_key(self, attribute: Any, value: str) -> None:
        if value and not 16 <= len(value) <= 200:
            raise ValueError("16 to 200 characters, or an empty text")


@frozen(kw_only=True)
class VendorLicenseSettings:
    """A licence of the vendor's own, as two texts that belong together."""

    plain: str = ""
    encrypted: str = ""

    def __attrs_post_init__(self) -> None:
        if bool(self.plain) != bool(self.encrypted):
            raise ValueError("plain and encrypted together")
        if any(
            len(text) > 8_192 or not (text.isascii() and text.isprintable()) for text in (self.plain, self.encrypted)
        ):
            raise ValueError("at most 8,192 printable ASCII characters: they go into the environment of a program")

    def __bool__(self) -> bool:
        return bool(self.plain)


@frozen(kw_only=True)
class LicensesSettings:
    """The licence issuer: how long its keys sign, and a licence that is handed out in place of ours."""

    rotate_days: float = setting(
        30.0,
        help="How long a key signs before the next one takes over.",
        reload="live",
        validator=and_(ge(2), le(3660)),
    )
    vendor: VendorLicenseSettings = setting(  # noqa: RUF009  a declaration, as all the others
        attrs.Factory(VendorLicenseSettings),
        help="A licence of the vendor's, as plain and encrypted, for hosts that run the vendor's own closed worker: it"
        " is handed out unchanged. Also as a table [licenses.vendor].",
        reload="live",
        secret=True,
    )


@frozen(kw_only=True)
class LogSettings:
    """What the appliance tells on standard error."""

    level: Literal["debug", "info", "warning", "error"] = setting("info", help="The least that is told.", reload="live")
    format: Literal["auto", "text", "json"] = setting(
        "auto", help="text for people, json for programs; auto: text on a terminal, else json."
    )
    requests: bool = setting(
        False,
        help="One line for each request answered, at level info; secrets in query strings are cut.",
        reload="live",
    )


@frozen(kw_only=True)
class PluginSettings:
    """What core itself reads of a [plugins.NAME] table, and what it read for the plugin."""

    enabled: bool = setting(True, help="Whether the plugin is loaded.")
    open_to: tuple[str, ...] = setting(
        (),
        help="Networks that may use this plugin's open endpoints without a credential.",
        validator=deep_iterable(text_rule(_check_network)),
    )
    own: Any = None
    """An instance of the plugin's own class; ``None`` when it has none."""


@frozen(kw_only=True)
class Settings:
    """The whole configuration."""

    server: ServerSettings = field(factory=ServerSettings)
    listeners: tuple[ListenerSettings, ...] = ()
    loading: LoadingSettings = field(factory=LoadingSettings)
    devices: DevicesSettings = field(factory=DevicesSettings)
    series: SeriesSettings = field(factory=SeriesSettings)
    people: PeopleSettings = field(factory=PeopleSettings)
    licenses: LicensesSettings = field(factory=LicensesSettings)
    scheduler: SchedulerSettings = field(factory=SchedulerSettings)
    log: LogSettings = field(factory=LogSettings)
    plugins: Mapping[str, PluginSettings] = field(factory=dict)

    def plugin(self, name: str) -> PluginSettings:
        """Return what is set for a plugin, its defaults when nothing is."""
        return self.plugins.get(name) or PluginSettings()


TABLES: Final = (
    ("server", ServerSettings),
    ("listeners", ListenerSettings),
    ("loading", LoadingSettings),
    ("devices", DevicesSettings),
    ("series", SeriesSettings),
    ("people", PeopleSettings),
    ("licenses", LicensesSettings),
    ("scheduler", SchedulerSettings),
    ("log", LogSettings),
)
"""Core's tables in the order of the generated file; ``listeners`` is an array of tables."""


@frozen(kw_only=True)
class Change:
    """What a reload did, by key (``server.drain_seconds``)."""

    applied: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()


class LiveSettings:
    """Holds the settings in force; readers ask `current` each time, so a reload reaches them."""

    def __init__(self, settings: Settings) -> None:
        self.current = settings
        self._watchers: list[Callable[[Settings], None]] = []

    def watch(self, tell: Callable[[Settings], None]) -> None:
        """Call ``tell`` with the settings in force now and after every change; it must not block or raise."""
        self._watchers.append(tell)
        tell(self.current)

    def apply(self, wanted: Settings) -> Change:
        """Put the live settings of ``wanted`` in force; what needs a restart stays as it is and is listed."""
        change = Change()
        tables: dict[str, Any] = {}
        for table, class_ in TABLES:
            if table == "listeners":
                continue
            old, new = getattr(self.current, table), getattr(wanted, table)
            differing = [one for one in fields(class_) if getattr(old, one.name) != getattr(new, one.name)]
            live = {one.name: getattr(new, one.name) for one in differing if one.metadata[RELOAD] == "live"}
            tables[table] = evolve(old, **live)
            rest = [one.name for one in differing if one.name not in live]
            change = _added(change, [f"{table}.{name}" for name in live], [f"{table}.{name}" for name in rest])
        if wanted.listeners != self.current.listeners:
            change = _added(change, [], ["listeners"])
        names = sorted(self.current.plugins.keys() | wanted.plugins.keys())
        changed = [name for name in names if self.current.plugin(name) != wanted.plugin(name)]
        change = _added(change, [], [f"plugins.{name}" for name in changed])
        self.current = evolve(self.current, **tables)
        for tell in self._watchers:
            tell(self.current)
        return change


def _added(change: Change, applied: list[str], needs_restart: list[str]) -> Change:
    return Change(applied=(*change.applied, *applied), needs_restart=(*change.needs_restart, *needs_restart))


def every_setting() -> Iterator[tuple[str, "attrs.Attribute[Any]"]]:
    """Yield the key (``server.drain_seconds``) and the declaration of each of core's settings."""
    for table, class_ in TABLES:
        for one in fields(class_):
            yield f"{table}.{one.name}", one


__all__ = [
    "DEFAULT_ADDRESS",
    "ENVIRONMENT",
    "HELP",
    "RELOAD",
    "SECRET",
    "TABLES",
    "Change",
    "DevicesSettings",
    "LicensesSettings",
    "ListenerSettings",
    "LiveSettings",
    "LoadingSettings",
    "LogSettings",
    "PeopleSettings",
    "PluginSettings",
    "QuotaSettings",
    "Reload",
    "SchedulerSettings",
    "SeriesSettings",
    "ServerSettings",
    "Settings",
    "VendorLicenseSettings",
    "VolumeSettings",
    "every_setting",
    "setting",
]
