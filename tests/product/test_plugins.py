"""Plugins of other people: everything a shipped one can do, and nothing that breaks anybody else."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.product.served import Product, product, until

pytestmark = pytest.mark.zipapp
FAN = (Path(__file__).parent / "dropped_fan.py").read_text()

ROUTES = """
from appliance.plugin import PERSON, Call, Core, Panel, PanelContent, Parts, Surface, hookimpl
appliance_api = 1
api = Surface({name!r}, prefixes=("/api/{name}",))
@api.get("/api/{name}", caller=PERSON)
async def read(call: Call[None]) -> dict[str, str]:
    {route}
    return {{"name": {name!r}}}
class Service:
    name = "worker"
    async def run(self, *, task_status):
        {service}
def card() -> PanelContent:
    {panel}
    return PanelContent()
@hookimpl
def {hook}(core: Core) -> Parts:
    {setup}
    shown = Panel(name="card", title={name!r}, read=card)
    return Parts(surfaces=[api.bind(core)], services=[Service()], panels=[shown])
"""


def source(name: str, **changed: str) -> str:
    parts = {"hook": "appliance_setup", "route": "pass", "panel": "pass", "setup": "pass", "service": "pass"}
    return ROUTES.format(name=name, **(parts | changed))


BROKEN = {
    "raises_at_import": "raise RuntimeError('no sensors here')\n",
    "exits_at_import": "import sys\nsys.exit('goodbye')\n",
    "misses_a_module": "import no_such_module\nappliance_api = 1\n",
    "wrong_version": "appliance_api = 99\n",
    "says_no_version": "x = 1\n",
    "misspelt_hook": source("misspelt_hook", hook="appliance_setpu"),
    "raises_in_setup": source("raises_in_setup", setup="raise OSError('no bus')"),
    "exits_in_setup": source("exits_in_setup", setup="raise SystemExit(3)"),
    "is_no_python": "def (:\n",
}
REASONS = {
    "raises_at_import": "no sensors here",
    "exits_at_import": "sys.exit",
    "misses_a_module": "no_such_module",
    "wrong_version": "99",
    "says_no_version": "appliance_api",
    "misspelt_hook": "appliance_setpu",
    "raises_in_setup": "no bus",
    "exits_in_setup": "sys.exit",
    "is_no_python": "SyntaxError",
}
RUNS_UNWELL = {
    "service_raises": source("service_raises", service="raise OSError('the fan is stuck')"),
    "panel_raises": source("panel_raises", panel="raise OSError('the sensor is unplugged')"),
    "route_raises": source("route_raises", route="raise OSError('the bus is away')"),
    "route_exits": source("route_exits", route="raise SystemExit(7)"),
}


def test_file_dropped_in_adds_a_route_a_service_a_command_a_setting_and_a_panel(fresh: Product) -> None:
    fresh.drop("fan", FAN)
    fresh.config.write_text("[plugins.fan]\ntarget_rpm = 900\n")
    fresh.start()
    first = fresh.get("/api/fan").json()
    assert first["target_rpm"] == 900
    until(lambda: fresh.get("/api/fan").json()["turns"] > first["turns"])
    one = fresh.plugin("fan")
    assert (one["state"], one["origin"]) == ("running", str(fresh.dropped))
    assert [(service["name"], service["state"]) for service in one["services"]] == [("turner", "running")]
    panels = fresh.get("/api/appliance/overview").json()["panels"]
    shown = [(panel["title"], panel["error"]) for panel in panels if panel["plugin"] == "fan"]
    assert shown == [("Fan curve", "")]
    said = fresh.command("fan", "please")
    assert (said.returncode, said.stdout) == (0, "fan target 900 please\n"), said.stderr
    assert "fan " in fresh.command("--help").stdout
    shown = fresh.command("config", "show")
    assert "target_rpm" in shown.stdout, shown.stderr
    assert "/api/fan" in fresh.get("/openapi.json").json()["paths"]


@pytest.fixture(scope="module")
def unwell(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A product beside every broken plugin at once, and one that is well."""
    with product(pyz, tmp_path_factory.mktemp("unwell")) as one:
        for name, text in {**BROKEN, **RUNS_UNWELL, "fan": FAN}.items():
            one.drop(name, text)
        one.start()
        yield one


@pytest.mark.parametrize("name", BROKEN)
def test_plugin_that_cannot_start_shows_as_its_own_failure(unwell: Product, name: str) -> None:
    one = unwell.plugin(name)
    assert one["state"] == "failed"
    assert REASONS[name] in one["reason"]
    (line,) = [line for line in unwell.readiness(name) if not line["ok"]]
    assert line["required"] is False
    assert REASONS[name] in line["message"]


def test_plugins_list_names_every_failure_with_its_reason(unwell: Product) -> None:
    listed = {one["name"]: one for one in unwell.json("plugins", "list")["items"]}
    for name, reason in REASONS.items():
        assert listed[name]["state"] == "failed"
        assert reason in listed[name]["reason"]
    assert listed["fan"]["state"] == "running"


@pytest.mark.parametrize("name", ["raises_in_setup", "exits_in_setup", "misspelt_hook"])
def test_paths_of_a_plugin_that_could_not_start_answer_503(unwell: Product, name: str) -> None:
    answer = unwell.get(f"/api/{name}")
    assert answer.status_code == 503
    assert "Traceback" not in answer.text


def test_crashing_service_is_restarted_and_shows_as_its_plugins_failure(unwell: Product) -> None:
    one = unwell.plugin("service_raises")
    assert one["state"] == "failed"
    assert "the fan is stuck" in one["reason"]
    assert unwell.get("/api/service_raises").status_code == 200
    until(lambda: unwell.plugin("service_raises")["services"][0]["crashes"] >= 2)


def test_raising_panel_shows_its_error_in_its_own_card(unwell: Product) -> None:
    panels = {one["plugin"]: one for one in unwell.get("/api/appliance/overview").json()["panels"]}
    assert "the sensor is unplugged" in panels["panel_raises"]["error"]
    assert panels["fan"]["error"] == ""


@pytest.mark.parametrize("name", ["route_raises", "route_exits"])
def test_raising_route_answers_500_without_details_and_only_there(unwell: Product, name: str) -> None:
    answer = unwell.get(f"/api/{name}")
    assert answer.status_code == 500
    assert "the bus is away" not in answer.text
    assert "Traceback" not in answer.text
    assert unwell.plugin(name)["state"] == "running"


def test_everything_else_answers_beside_failed_plugins(unwell: Product) -> None:
    ready = unwell.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    for path in ("/healthz", "/api/fan", "/api/appliance/overview", "/api/appliance/devices", "/login", "/metrics"):
        assert unwell.get(path).status_code == 200, path
    assert unwell.command("--version").returncode == 0


def test_installed_package_in_the_site_folder_is_a_plugin(fresh: Product) -> None:
    site = fresh.folder / "site"
    info = site / "fan_of_others-2.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fan-of-others\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text("[appliance.plugins]\nfan = fan_of_others\n")
    (site / "fan_of_others.py").write_text(FAN.replace("plugins.fan:show", "fan_of_others:show"))
    fresh.config.write_text(f"[loading]\nsite = {json.dumps(str(site))}\n")
    fresh.start()
    one = fresh.plugin("fan")
    assert (one["state"], one["version"], one["origin"]) == ("running", "2.5", "package fan-of-others")
    assert fresh.get("/api/fan").json()["target_rpm"] == 1200
    said = fresh.command("fan")
    assert (said.returncode, said.stdout) == (0, "fan target 1200\n"), said.stderr


def test_folder_that_others_may_write_is_refused_with_the_reason(fresh: Product) -> None:
    folder = fresh.folder / "dropped"
    folder.mkdir(mode=0o700)
    (folder / "fan.py").write_text(FAN)
    folder.chmod(0o770)
    fresh.config.write_text(f"[loading]\nfolder = {json.dumps(str(folder))}\n")
    fresh.start()
    one = fresh.plugin("fan")
    assert one["state"] == "failed"
    assert "can be written by others (mode 0770)" in one["reason"]
    assert fresh.get("/api/fan").status_code in (404, 503)


def test_three_failed_starts_lead_to_safe_mode_and_a_good_start_out_of_it(fresh: Product) -> None:
    killer = fresh.drop("killer", source("killer", setup="import os; os._exit(9)"))
    fresh.drop("fan", FAN)
    for _ in range(3):
        status, said = fresh.refused()
        assert status == 9
        assert "Traceback" not in said
    fresh.start()
    assert "SAFE MODE" in "\n".join(fresh.said)
    for name in ("killer", "fan"):
        assert fresh.plugin(name)["state"] == "off"
        assert "safe mode" in fresh.plugin(name)["reason"]
    assert fresh.plugin("dashboard")["state"] == "running"
    killer.unlink()
    fresh.restart()
    assert "SAFE MODE" not in "\n".join(fresh.said)
    assert fresh.plugin("fan")["state"] == "running"
