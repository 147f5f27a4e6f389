"""How every part is doing: the lines of ``/readyz`` and core's section of ``/metrics``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from attrs import frozen

import appliance
from appliance.clock import Now, to_unix_s
from appliance.database import Database
from appliance.http.pipeline import Edge
from appliance.local_agent.service import LocalAgent
from appliance.run.plugins import PluginHost
from appliance.supervise import Supervisor

log = structlog.get_logger(__name__)

GPU_GAUGES = (
    "utilization_percent",
    "vram_used_bytes",
    "vram_total_bytes",
    "power_watts",
    "power_limit_watts",
    "temperature_celsius",
)
HOST_GAUGES = ("cpu_percent", "cpu_load_1", "memory_used_bytes", "memory_total_bytes", "swap_used_bytes")


@frozen(kw_only=True)
class Report:
    """Reads the state of every part when asked; nothing here blocks."""

    database: Database
    supervisor: Supervisor
    host: PluginHost
    agent: LocalAgent
    edge: Edge
    now: Now
    started_unix_us: int
    certificates: Sequence[Path] = ()
    """Those that listeners serve; one out of its time is told, and looked at on each asking."""

    def readiness(self) -> Sequence[Mapping[str, Any]]:
        """Return name, ok, required and message of every part; what is not required never makes the whole unready."""
        items = [_item("database", self.database.problem, required=True)]
        items += [_item(f"service {one.name}", one.problem, required=True) for one in self.supervisor.of("core")]
        if self.agent.storage_problem:
            items.append(_item("sampling", self.agent.storage_problem, required=True))
        for plugin in self.host.items():
            if plugin["state"] in ("failed", "off"):
                items.append(_item(f"plugin {plugin['name']}", plugin["reason"] or plugin["state"], required=False))
            else:
                items.append(_item(f"plugin {plugin['name']}", None, required=False, message=plugin["state"]))
        for backend in self.agent.backends:
            well = backend.ok or not backend.present
            items.append({"name": f"devices {backend.name}", "ok": well, "required": False, "message": backend.message})
        return [*items, *self._of_certificates(), *self._of_plugins()]

    def _of_certificates(self) -> list[Mapping[str, Any]]:
        if not self.certificates:
            return []
        from appliance.http import tls  # brings a cryptography library along; see listening.py

        items = []
        for path in self.certificates:
            try:
                problem = tls.validity_problem(path, now_unix_us=self.now())
            except tls.CertificateUnusable as error:
                problem = str(error)
            items.append(_item(f"certificate {path.name}", problem, required=False))
        return items

    def _of_plugins(self) -> list[Mapping[str, Any]]:
        items = []
        for name, parts in self.host.parts.items():
            for one in parts.readiness:
                try:
                    problem = one.check()
                except (Exception, SystemExit) as error:
                    problem = f"its check failed: {type(error).__name__}: {error}"
                items.append(_item(f"{name}: {one.name}", problem, required=False))
        return items

    def prometheus(self) -> str:
        """Return all of ``/metrics``: core's section, the edge's, then those of plugins."""
        sections = [self._own(), self.edge.metrics.prometheus()]
        for name, parts in self.host.parts.items():
            for section in parts.prometheus:
                try:
                    sections.append(section())
                except (Exception, SystemExit) as error:
                    log.warning("metrics.section_failed", plugin=name, exc_info=error)
        return "".join(section if section.endswith("\n") else f"{section}\n" for section in sections if section)

    def _own(self) -> str:
        lines = _Lines()
        lines.add("appliance_info", "The appliance's version.", 1, version=appliance.__version__)
        lines.add("appliance_start_time_seconds", "When it started.", to_unix_s(self.started_unix_us))
        lines.add("appliance_database_commits_total", "Transactions committed.", self.database.commits, kind="counter")
        for item in self.readiness():
            lines.add("appliance_part_ok", "Whether a part is well.", int(item["ok"]), part=item["name"])
        for one in self.supervisor.services:
            lines.add(
                "appliance_service_crashes_total",
                "Crashes of a service.",
                one.crash_count,
                kind="counter",
                owner=one.owner,
                service=one.name,
            )
        sample = self.agent.latest
        if sample is not None:
            for name in HOST_GAUGES:
                lines.add(f"appliance_host_{name}", f"{name} of this host.", getattr(sample, name))
            for name in GPU_GAUGES:
                for gpu in sample.gpus:
                    lines.add(
                        f"appliance_gpu_{name}",
                        f"{name} of a GPU.",
                        getattr(gpu, name),
                        gpu=gpu.gpu_id,
                        index=str(gpu.gpu_index),
                        model=gpu.model,
                    )
        return lines.text


class _Lines:
    """Collects figures in the Prometheus text format; ``None`` is left out."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._told: set[str] = set()

    def add(self, name: str, help: str, value: float | None, *, kind: str = "gauge", **labels: str) -> None:
        """Add one figure; those of one name must come together."""
        if value is None:
            return
        if name not in self._told:
            self._told.add(name)
            self._lines += [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]
        shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        self._lines.append(f"{name}{{{shown}}} {value}" if shown else f"{name} {value}")

    @property
    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _item(name: str, problem: str | None, *, required: bool, message: str = "") -> Mapping[str, Any]:
    return {"name": name, "ok": problem is None, "required": required, "message": problem or message}
