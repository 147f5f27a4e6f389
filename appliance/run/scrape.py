"""What ``/metrics`` answers: this process and its parts, requests, this host and every server, sections of plugins."""

import math
import platform
import resource
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

import psutil
import structlog
import trio
from attrs import evolve, field, frozen

import appliance
from appliance.clock import Now, to_unix_s
from appliance.database import Database
from appliance.errors import ApplianceError
from appliance.events import store as event_store
from appliance.http.metrics import RequestMetrics
from appliance.local_agent.service import LocalAgent
from appliance.prometheus import Figures, ScrapedHost, hosts_text
from appliance.run.plugins import PluginHost
from appliance.run.readiness import Report
from appliance.scheduler.service import Scheduler
from appliance.series.flatten import read
from appliance.series.service import Series
from appliance.supervise import Supervisor

log = structlog.get_logger(__name__)

LOCAL: Final = "local"
"""What this host is called where no plugin calls it anything else."""
SILENT_SECONDS: Final = 60.0
"""Our own sampling counts as silent after that, or ten of its intervals."""
MANY_HOSTS: Final = 32
"""So many are written beside the event loop: with 8 GPUs each that takes about 3 ms."""
TIERS: Final = ("raw", "10s", "1m", "10m", "1h")


@frozen(kw_only=True)
class Scrape:
    """Collects figures when asked; only the writing of many hosts is done beside the event loop."""

    report: Report
    requests: RequestMetrics
    database: Database
    series: Series
    supervisor: Supervisor
    host: PluginHost
    agent: LocalAgent
    scheduler: Scheduler
    now: Now
    started_unix_us: int
    _told: dict[tuple[str, int], str] = field(factory=dict, init=False)
    """The last failure of each plugin's sections."""

    async def text(self, names: str) -> str:
        """Return all of ``/metrics``; for ``dcgm`` the figures of GPUs alone, as dcgm-exporter answers."""
        sections, hosts = self._of_plugins()
        hosts = self._with_local(hosts)
        if len(hosts) < MANY_HOSTS:
            written = hosts_text(hosts, names=names)
        else:
            written = await trio.to_thread.run_sync(lambda: hosts_text(hosts, names=names))
        if names == "dcgm":
            return written
        parts = [self._own(), self.requests.prometheus(), self.scheduler.prometheus(), written, *sections]
        return "".join(part if part.endswith("\n") else f"{part}\n" for part in parts if part)

    def _of_plugins(self) -> tuple[list[str], list[ScrapedHost]]:
        sections: list[str] = []
        hosts: list[ScrapedHost] = []
        for name, parts in self.host.parts.items():
            for place, section in enumerate(parts.prometheus):
                try:
                    found = section()
                    if isinstance(found, str):
                        sections.append(found)
                    else:
                        hosts += _checked(found)
                except (Exception, SystemExit) as error:
                    self._tell(name, place, error)
        return sections, hosts

    def _tell(self, plugin: str, section: int, error: BaseException) -> None:
        """Log a failure once for as long as it is the same: scrapes come all day, and a traceback is long."""
        reason = f"{type(error).__name__}: {error}"[:500]
        if self._told.get((plugin, section)) == reason:
            return
        self._told[plugin, section] = reason
        [*_, last] = traceback.extract_tb(error.__traceback__)
        log.warning("metrics.section_failed", plugin=plugin, reason=reason, at=f"{last.filename}:{last.lineno}")

    # ------------------------------------------------------------ hosts

    def _with_local(self, given: Sequence[ScrapedHost]) -> list[ScrapedHost]:
        """Return hosts of which each comes once, this one first, with what only we know of it."""
        named = {host.host_id: host for host in reversed(given)}
        mine = named.pop(self.agent.host_id, None)
        taken = {host.server for host in named.values()}
        server = mine.server if mine is not None else LOCAL
        if server in taken:
            server = self.agent.host_id
        local = self._local(server)
        return [local, *_unique(reversed(named.values()), local.server)]

    def _local(self, server: str) -> ScrapedHost:
        agent = self.agent
        host = ScrapedHost(host_id=agent.host_id, server=server, hostname=agent.facts.hostname)
        if agent.latest is None:
            return evolve(host, is_up=False)
        try:
            sample, row = read(agent.latest)
        except ApplianceError:  # no series takes it either, and `storage_problem` says why
            return evolve(host, is_up=False)
        limit_seconds = max(SILENT_SECONDS, 10 * agent.sample_seconds())
        return evolve(
            host,
            is_up=self.now() - row.at_unix_us <= limit_seconds * 1_000_000,
            row=row,
            live=sample,
            gpus={gpu.gpu_id: gpu for gpu in agent.gpus},
            last_xids=dict(self._xids()),
        )

    def _xids(self) -> Iterator[tuple[str, int]]:
        for gpu_id, kept in self.agent.recent.items():
            for each in kept:
                code = each.event.data.get("xid")
                if isinstance(code, int):
                    yield gpu_id, code

    # ------------------------------------------------------------ ourselves

    def _own(self) -> str:
        figures = Figures()
        figures.add(
            "appliance_build_info",
            "The appliance's version, and the Python that runs it.",
            1,
            version=appliance.__version__,
            python=platform.python_version(),
        )
        figures.add("appliance_start_time_seconds", "When it started.", to_unix_s(self.started_unix_us))
        uptime = to_unix_s(max(0, self.now() - self.started_unix_us))
        figures.add("appliance_uptime_seconds", "For how long it runs.", uptime)
        _add_process(figures)
        self._add_parts(figures)
        with suppress(ApplianceError):  # a database that cannot be read is told by appliance_part_ok
            self._add_storage(figures)
        return figures.text

    def _add_parts(self, figures: Figures) -> None:
        for item in self.report.readiness():
            figures.add("appliance_part_ok", "Whether a part is well.", item["ok"], part=item["name"])
        for plugin in self.host.items():
            labels = {"plugin": plugin["name"], "version": plugin["version"]}
            figures.add("appliance_plugin_up", "Whether a plugin runs.", plugin["state"] == "running", **labels)
        for backend in self.agent.backends:
            figures.add("appliance_device_backend_up", "Whether devices can be read.", backend.ok, backend=backend.name)
            figures.add(
                "appliance_device_backend_present",
                "Whether this host has such devices or their driver.",
                backend.present,
                backend=backend.name,
            )
        for one in self.supervisor.services:
            figures.add(
                "appliance_service_crashes_total",
                "Crashes of a service.",
                one.crash_count,
                kind="counter",
                owner=one.owner,
                service=one.name,
            )

    def _add_storage(self, figures: Figures) -> None:
        commits, rollbacks = self.database.commits, self.database.rollbacks
        figures.add("appliance_database_commits_total", "Transactions committed.", commits, kind="counter")
        figures.add("appliance_database_rollbacks_total", "Transactions undone.", rollbacks, kind="counter")
        usage = self.series.usage()
        figures.add("appliance_database_used_bytes", "Pages of the database in use.", usage.used_bytes)
        figures.add("appliance_database_budget_bytes", "What history may take.", usage.budget_bytes)
        figures.add("appliance_series_over_budget", "Whether too little is left to prune.", usage.is_over_budget)
        figures.add("appliance_series_hosts", "Hosts with a newest sample.", len(self.series.hosts()))
        figures.add("appliance_series_waiting_buckets", "Buckets to be built anew.", usage.waiting_buckets)
        for tier, pruned in zip(TIERS, usage.pruned_until_unix_us, strict=False):
            figures.add(
                "appliance_series_pruned_until_timestamp_seconds",
                "Before this, nothing of a tier is kept; 0 where nothing was pruned yet.",
                to_unix_s(pruned),
                tier=tier,
            )
        published, size = self.database.read_now(event_store.totals)
        figures.add("appliance_events_published_total", "Events ever stored.", published, kind="counter")
        figures.add("appliance_events_bytes", "Size of the events that are kept.", size)


def _checked(found: Iterable[ScrapedHost]) -> list[ScrapedHost]:
    hosts = list(found)
    for host in hosts:
        if not isinstance(host, ScrapedHost):
            raise TypeError(f"a section is text or hosts, not {type(host).__name__}")
    return hosts


def _unique(hosts: Iterator[ScrapedHost], *taken: str) -> Iterator[ScrapedHost]:
    """Leave out a second host of one name: two lines with the same labels would cost the whole scrape."""
    seen = set(taken)
    for host in hosts:
        if host.server not in seen:
            seen.add(host.server)
            yield host


def _add_process(figures: Figures) -> None:
    """Add what every Prometheus client says of its process, by the names that they agreed on."""
    with suppress(psutil.Error, OSError):
        process = psutil.Process()
        with process.oneshot():
            times, memory = process.cpu_times(), process.memory_info()
            cpu_seconds = times.user + times.system
            started = process.create_time()
            threads, open_files = process.num_threads(), process.num_fds()
        figures.add("process_cpu_seconds_total", "Processor time, of all threads.", cpu_seconds, kind="counter")
        figures.add("process_resident_memory_bytes", "Main memory held.", memory.rss)
        figures.add("process_virtual_memory_bytes", "Address space held.", memory.vms)
        figures.add("process_start_time_seconds", "When the process started.", started)
        figures.add("process_threads", "Threads.", threads)
        figures.add("process_open_fds", "Open file descriptors.", open_files)
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = math.inf if most == resource.RLIM_INFINITY else most
        figures.add("process_max_fds", "File descriptors that may be open.", limit)
