"""How every part is doing: the lines of ``/readyz``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from appliance.clock import Now
from appliance.database import Database
from appliance.local_agent.service import LocalAgent
from appliance.run.plugins import PluginHost
from appliance.scheduler.service import Scheduler
from appliance.supervise import Supervisor


@frozen(kw_only=True)
class Report:
    """Reads the state of every part when asked; nothing here blocks."""

    database: Database
    supervisor: Supervisor
    host: PluginHost
    agent: LocalAgent
    scheduler: Scheduler
    now: Now
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
        return [*items, *self._of_tasks(), *self._of_certificates(), *self._of_plugins()]

    def _of_tasks(self) -> list[Mapping[str, Any]]:
        items = [_item("tasks", self.scheduler.problem, required=False, message=self.scheduler.choice)]
        for engine in self.scheduler.engines():
            # One that this host has nothing for is as it should be.
            well = engine.state in ("ok", "absent", "starting")
            words = f"{engine.message}: {engine.hint}" if engine.hint and not well else engine.message
            items.append({"name": f"engine {engine.name}", "ok": well, "required": False, "message": words})
        return items

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


def _item(name: str, problem: str | None, *, required: bool, message: str = "") -> Mapping[str, Any]:
    return {"name": name, "ok": problem is None, "required": required, "message": problem or message}
