"""What ``[plugins.gpu_sharing]`` can say."""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, le, matches_re

from appliance.plugin import setting

from .plans import UNLIMITED, Bound, Plan, plan_of, plans_in_force

NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
SHARE_PORTS_MIN: Final = 1024
COUNT_MAX: Final = 1_000_000


def _bound(instance: Any, attribute: Any, value: Bound | None) -> None:
    if isinstance(value, int) and not 0 <= value <= COUNT_MAX:
        raise ValueError(f'a whole number from 0 to {COUNT_MAX}, or "{UNLIMITED}"')


@frozen(kw_only=True)
class PlanSettings:
    """One plan. What is not written is as in the shipped plan of that name, and unlimited in any other."""

    gpus_per_agent: Bound | None = field(default=None, validator=_bound)
    """GPUs of one agent; an agent with more is not registered."""
    agents: Bound | None = field(default=None, validator=_bound)
    workers: Bound | None = field(default=None, validator=_bound)
    """Over all of a person's agents, the default ones included."""
    shares: Bound | None = field(default=None, validator=_bound)
    metrics: bool | None = None
    """Whether figures that agents report are kept."""


def _no_nul(instance: Any, attribute: Any, value: str) -> None:
    if "\0" in value:
        raise ValueError("text without NUL")


def _argv(instance: Any, attribute: Any, value: tuple[str, ...]) -> None:
    if not value or not value[0]:
        raise ValueError('a program and its arguments, such as ["/usr/bin/sshd", "-D", "-p", "{port}"]')
    for one in value:
        _no_nul(instance, attribute, one)


@frozen(kw_only=True)
class CommandSettings:
    """One command that a worker can run on this host, bound to the worker's GPUs."""

    argv: tuple[str, ...] = field(default=("",), validator=_argv)
    """Program and arguments; no shell reads them. ``{port}``, ``{worker_id}`` and ``{name}`` are filled in."""
    user: str = field(default="", validator=matches_re(r"(?:[a-z_][a-z0-9_-]{0,31}\$?)?"))
    """Whom it runs as; empty: not at all, unless ``unsafe_same_uid``."""
    folder: str = field(default="", validator=_no_nul)
    """Where it starts, and its HOME; empty: a folder of its own."""
    environment: Mapping[str, str] = field(factory=dict)
    """Variables it gets besides those that bind it to its GPUs."""
    unsafe_same_uid: bool = False
    """Let it run as the appliance's own user, from whom nothing is hidden; owner trust is then off."""

    @environment.validator
    def _check_environment(self, attribute: Any, value: Mapping[str, str]) -> None:
        for name, text in value.items():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name) or "\0" in text:
                raise ValueError("names of variables, and texts without NUL")


def _named(instance: Any, attribute: Any, value: Mapping[str, Any]) -> None:
    for name in value:
        if re.fullmatch(NAME_PATTERN, name) is None:
            raise ValueError(f"names of 1 to 64 letters, digits, dots, dashes and underscores, not {name[:64]!r}")


def _text_rule(check: Callable[[str], Any]) -> Callable[[Any, Any, str], None]:
    def validate(instance: Any, attribute: Any, value: str) -> None:
        check(value)

    return validate


def read_ports(text: str) -> range:
    """Return the ports of ``"20000-29999"``; raise `ValueError` for anything else."""
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text, re.ASCII)
    if match is None or not SHARE_PORTS_MIN <= int(match[1]) <= int(match[2]) <= 65_535:
        raise ValueError(f'two ports from {SHARE_PORTS_MIN} to 65535, the lower first, such as "20000-29999"')
    return range(int(match[1]), int(match[2]) + 1)


def _check_vendor(value: str) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,31}", value, re.ASCII):
        raise ValueError("vendors of 1 to 32 characters in lower case, such as nvidia")


def _check_base(value: str) -> None:
    url = urlsplit(value)
    if value and (url.scheme not in {"http", "https"} or not url.hostname or url.query or url.fragment):
        raise ValueError("http:// or https:// with a host name and no query, or an empty text")
    if not re.fullmatch(r"[!#%&'()*+,./0-9:;=?@A-Z_a-z~\[\]-]*", value, re.ASCII):
        raise ValueError("a URL")


def _check_network(value: str) -> None:
    try:
        ip_network(value)
    except ValueError as error:
        raise ValueError(f"a network such as 10.1.0.0/16 ({error})") from error


def _check_listen(value: str) -> None:
    host, separator, port = value.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    well = separator and bare and not re.search(r"[\s/@\[\]]", bare) and re.fullmatch(r"[0-9]{1,5}", port, re.ASCII)
    if not well or int(port) > 65_535 or (":" in bare and bare == host):
        raise ValueError("HOST:PORT or [IPV6]:PORT")


@frozen(kw_only=True)
class SharingSettings:
    """Settings of GPU sharing."""

    plans: Mapping[str, PlanSettings] = setting(
        factory=dict,
        help="Plans by name, each with gpus_per_agent, agents, workers and shares (a number or"
        ' "unlimited") and metrics = true or false; free, personal, pro and team always exist.',
        validator=_named,
    )
    people: Mapping[str, str] = setting(factory=dict, help="Names of people, each with the name of a plan.")
    default_plan: str = setting(
        "team", help="The plan of everybody who is not listed under people.", validator=matches_re(NAME_PATTERN)
    )
    vendors: tuple[str, ...] = setting(
        ("nvidia", "amd"),
        help="Vendors of GPUs that agents may register, in lower case.",
        validator=deep_iterable(_text_rule(_check_vendor)),
    )
    short_link_base: str = setting(
        "",
        help="What short links begin with, before /s/CODE; empty: the public_url.",
        validator=_text_rule(_check_base),
    )
    relay_ports: str = setting(
        "20000-29999",
        help="Ports of this host that live shares of its own workers get, one each.",
        validator=_text_rule(read_ports),
    )
    relay_access: Literal["open", "cidr", "redeemed"] = setting(
        "redeemed",
        help="Who may connect to a share that does not say: anyone (open), relay_networks (cidr), or addresses that"
        " have fetched its short link (redeemed).",
    )
    relay_networks: tuple[str, ...] = setting(
        (),
        help="Networks that may connect where access is cidr.",
        validator=deep_iterable(_text_rule(_check_network)),
    )
    redeemed_hours: float = setting(
        12.0,
        help="For how long an address may connect after it has fetched a short link.",
        validator=and_(ge(0.01), le(8760)),
    )
    relay_connections: int = setting(
        256, help="Connections at once of a share that does not say.", validator=and_(ge(1), le(65_535))
    )
    commands: Mapping[str, CommandSettings] = setting(
        factory=dict,
        help='Commands by name that workers of this host can run, each with argv = ["PROGRAM", "--port", "{port}"],'
        ' user = "NAME", folder and environment.',
        validator=_named,
    )
    worker_commands: Mapping[str, str] = setting(
        factory=dict, help="Names or ids of workers of this host, each with the name of its command."
    )
    default_command: str = setting(
        "",
        help="The command of workers of this host that are not listed under worker_commands; empty: none.",
    )
    push_proxy: bool = setting(
        False, help="Tell agents of changes within a second, through a proxy that their HTTPS_PROXY names."
    )
    push_proxy_listen: str = setting(
        "127.0.0.1:8090", help="Where that proxy listens, HOST:PORT.", validator=_text_rule(_check_listen)
    )
    push_proxy_forward: bool = setting(
        False, help="Let that proxy pass on, untouched, connections to other hosts than the agents' stream."
    )

    def __attrs_post_init__(self) -> None:
        known = plans_in_force(self.plans)
        for name in (*self.people.values(), self.default_plan):
            if name not in known:
                raise ValueError(f"a plan that exists, not {name[:64]!r}: {', '.join(known)}")
        for name in (*self.worker_commands.values(), self.default_command):
            if name and name not in self.commands:
                raise ValueError(f"a command that exists, not {name[:64]!r}: {', '.join(self.commands) or 'none does'}")

    def plan(self, person: str) -> Plan:
        """Return a person's plan."""
        return plan_of(person, plans=plans_in_force(self.plans), people=self.people, default_plan=self.default_plan)

    def command(self, worker_id: str, name: str) -> CommandSettings | None:
        """Return what a worker of this host runs, found by its id, then its name; ``None`` when nothing is set."""
        chosen = self.worker_commands.get(worker_id) or self.worker_commands.get(name) or self.default_command
        return self.commands[chosen] if chosen else None
