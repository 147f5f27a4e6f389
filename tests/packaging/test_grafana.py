"""The Grafana dashboard asks for nothing that ``/metrics`` does not have, and can be imported anywhere."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from appliance.prometheus import hosts_text
from appliance.testing import running, scripted_gpus
from tests.appliance.prometheus.hosts_kit import everything, scraped
from tests.appliance.prometheus.parsing import parse

FILE = Path(__file__).parents[2] / "packaging/grafana/appliance.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
FIGURES = [panel for panel in PANELS if panel["type"] != "row"]
VARIABLES = {each["name"]: each for each in DASHBOARD["templating"]["list"]}

METRIC = re.compile(r"\b((?:appliance|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"(?:,|$)')
OF_SCRAPER = {"instance", "job"}
"""Labels that Prometheus itself adds."""
UNITS = {
    # https://github.com/grafana/grafana/blob/main/packages/grafana-data/src/valueFormats/categories.ts
    *("none", "short", "percent", "percentunit", "bytes", "binBps", "s", "hertz", "watt", "celsius", "rotrpm"),
    *("reqps", "ops", "iops", "cps", "pps"),
}


def queries() -> Iterator[tuple[str, str, str]]:
    """Yield title, query and legend of everything that is asked."""
    for panel in FIGURES:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]
    for name, variable in VARIABLES.items():
        if variable["type"] == "query":
            yield f"${name}", variable["query"]["query"], ""


@pytest.fixture(scope="module")
def hosts() -> Mapping[str, set[str]]:
    sample = everything()
    return labels_by_name(hosts_text([scraped(sample, live=sample, last_xids={"GPU-0": 79})]))


def labels_by_name(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in parse(text).values():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


async def test_every_figure_and_label_that_is_asked_for_is_written(
    tmp_path: Path, hosts: Mapping[str, set[str]]
) -> None:
    async with running(tmp_path, backends=[scripted_gpus()]) as one:
        await one.get("/healthz")
        written = {**labels_by_name((await one.get("/metrics")).text), **hosts}
    asked = 0
    for title, query, legend in queries():
        known: set[str] = set()
        for name, matchers in METRIC.findall(query):
            assert name in written, f"{title}: nobody writes {name}"
            known |= written[name] | OF_SCRAPER
            labels = {label for label, _ in MATCHER.findall(matchers)}
            assert labels <= written[name] | OF_SCRAPER, f"{title}: {name} has no label {labels - written[name]}"
            asked += 1
        assert known, f"{title} asks for nothing"
        grouped = re.findall(r"\bby \(([^)]*)\)", query)
        left = {label.strip() for group in grouped for label in group.split(",")} if grouped else known
        assert left <= known, f"{title}: groups by what is not there"
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= left, f"{title}: the legend names what is not there"
    assert asked > 80


def test_every_figure_of_gpus_and_hosts_that_people_chart_is_on_it(hosts: Mapping[str, set[str]]) -> None:
    shown = {name for _, query, _ in queries() for name, _ in METRIC.findall(query)}
    # What is left out says the same as what is shown, or never moves.
    assert {name for name in hosts if name not in shown} == {
        "appliance_gpu_asleep",
        "appliance_gpu_ecc_corrected_lifetime_total",
        "appliance_gpu_ecc_uncorrected_lifetime_total",
        "appliance_filesystem_free_bytes",
        "appliance_host_cpu_core_percent",
        "appliance_host_cpu_count_physical",
        "appliance_host_cpu_frequency_mhz",
        "appliance_host_cpu_load_15",
        "appliance_host_cpu_load_5",
        "appliance_host_cpu_system_percent",
        "appliance_host_cpu_user_percent",
        "appliance_host_memory_total_bytes",
        "appliance_host_swap_total_bytes",
        "appliance_host_swap_used_bytes",
        "appliance_host_uptime_seconds",
    }


def test_counters_are_asked_for_their_change_and_gauges_for_their_value(hosts: Mapping[str, set[str]]) -> None:
    for title, query, _ in queries():
        for match in METRIC.finditer(query):
            name = match[1]
            ranged = query[match.end() :].startswith("[")
            is_counter = name.endswith(("_total", "_bucket", "_count"))
            assert ranged == is_counter, f"{title}: {name}"


def test_queries_are_closed_and_name_only_variables_that_are_there() -> None:
    built_in = {"__rate_interval", "__range", "datasource"}
    for title, query, _ in queries():
        for opening, closing in ("()", "{}", "[]"):
            assert query.count(opening) == query.count(closing), title
        assert query.count('"') % 2 == 0, title
        assert set(re.findall(r"\$\{?(\w+)", query)) <= {*VARIABLES, *built_in}, title
        for _, matchers in METRIC.findall(query):
            assert MATCHER.sub("", matchers) == "", f"{title}: {matchers}"


def test_panels_have_a_title_a_description_a_known_unit_and_an_id_of_their_own() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    titles = [panel["title"] for panel in PANELS]
    assert len(titles) == len(set(titles))
    for panel in FIGURES:
        assert panel["title"].strip()
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert references
        assert len(references) == len(set(references)), panel["title"]


def test_panels_lie_within_the_grid_and_none_over_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_the_data_source_is_the_importers_own() -> None:
    def sources(item: Any) -> Iterator[Any]:
        if isinstance(item, dict):
            for name, value in item.items():
                if name == "datasource":
                    yield value
                yield from sources(value)
        elif isinstance(item, list):
            for value in item:
                yield from sources(value)

    found = list(sources(DASHBOARD))
    assert len(found) > 2 * len(FIGURES)
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in found)
    assert VARIABLES["datasource"]["query"] == "prometheus"
    assert list(VARIABLES) == ["datasource", "instance", "server", "gpu"]
    assert DASHBOARD["id"] is None
    assert DASHBOARD["schemaVersion"] >= 36
