"""The newest sample of every host as figures: by our names, or by those of dcgm-exporter.

The figures of all hosts are written together, since a family must not come twice. A row of a host is a flat list of
numbers in the order of `appliance.series.fields`; those of a kind of device are put behind one another, so that a
family is every n-th of them and one loop writes it. Labels are text made once for each set of devices.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from attrs import define, field, frozen

from appliance.clock import to_unix_s
from appliance.devices import Gpu, HostSample
from appliance.prometheus.families import COUNTERS, DCGM, DCGM_LIVE, GAUGES, GPU_FIELDS, LIVE
from appliance.prometheus.text import Figures, family, labelled, text_of
from appliance.series.fields import GPU, HOST, KINDS, Fields
from appliance.series.pack import Layout, Row

NAMES: Final = ("appliance", "dcgm")
"""Which names ``/metrics`` can be asked for."""

LABELS: Final = {"disk": "device", "network": "interface", "fan": "fan"}
"""What tells one device of a kind from the next; a GPU has several."""


@frozen(kw_only=True)
class ScrapedHost:
    """One host for ``/metrics``. Every figure of it has the labels ``server`` and ``host``."""

    host_id: str
    """Under which the series hold its samples; of two with the same, the appliance's own word on itself counts."""
    server: str
    """What it is called here; unique."""
    hostname: str
    """What it calls itself."""
    is_up: bool = True
    """Of one that is silent nothing is told but that, and when it was last heard of."""
    row: Row | None = None
    """Its newest sample (`Reading.row`)."""
    live: HostSample | None = None
    """The newest sample with what is never stored, where that is known."""
    gpus: Mapping[str, Gpu] = field(factory=dict)
    """What is known of its GPUs beside figures, by id."""
    last_xids: Mapping[str, int] = field(factory=dict)
    """The last driver error (XID) of each GPU that had one lately, by id."""


def hosts_text(hosts: Sequence[ScrapedHost], *, names: str = "appliance") -> str:
    """Return the figures of hosts whose ``server`` differs; pure, so it may run in any thread.

    :param names: ``appliance``; or ``dcgm`` for figures of GPUs alone, named as by dcgm-exporter.
    """
    shown = [host for host in hosts if host.is_up and host.row is not None]
    if names == "dcgm":
        return text_of(_dcgm(shown)) + _dcgm_live(shown)
    return text_of([*_states(hosts), *_samples(shown)]) + _live(shown)


# ------------------------------------------------------------ our names


def _states(hosts: Sequence[ScrapedHost]) -> list[str]:
    labels = [labelled(server=host.server, host=host.hostname) for host in hosts]
    up = [int(host.is_up and host.row is not None) for host in hosts]
    times = [None if host.row is None else to_unix_s(host.row.at_unix_us) for host in hosts]
    return [
        *family(
            "appliance_server_up", "Whether a server reports; of a silent one no figures are told.", "gauge", labels, up
        ),
        *family(
            "appliance_sample_timestamp_seconds", "When a server's newest sample was taken.", "gauge", labels, times
        ),
    ]


@define(eq=False)
class _Columns:
    """All devices of one kind on all hosts."""

    labels: list[str] = field(factory=list)
    gauges: list[float | None] = field(factory=list)
    counters: list[int | None] = field(factory=list)

    def families(self, kind: Fields) -> Iterator[list[str]]:
        for families, values in ((GAUGES[kind.prefix], self.gauges), (COUNTERS[kind.prefix], self.counters)):
            for place, each in enumerate(families):
                yield family(each.name, each.words, each.kind, self.labels, values[place :: len(families)])


def _samples(hosts: Iterable[ScrapedHost]) -> Iterator[str]:
    whole, kinds = _Columns(), [_Columns() for _ in KINDS]
    for host in hosts:
        row = host.row
        if row is None:
            continue
        own, labels = _labels(host.server, host.hostname, row.layout)
        whole.labels.append(own)
        whole.gauges += row.host_gauges
        whole.counters += row.host_counters
        gauge = counter = 0
        for kind, columns, texts in zip(KINDS, kinds, labels, strict=True):
            columns.labels += texts
            gauges, counters = gauge, counter
            gauge += len(texts) * len(kind.gauges)
            counter += len(texts) * len(kind.counters)
            columns.gauges += row.gauges[gauges:gauge]
            columns.counters += row.counters[counters:counter]
    for kind, columns in zip((HOST, *KINDS), (whole, *kinds), strict=True):
        for pieces in columns.families(kind):
            yield from pieces


@lru_cache(maxsize=2048)
def _labels(server: str, hostname: str, layout: Layout) -> tuple[str, tuple[tuple[str, ...], ...]]:
    """Return the labels of a host itself, and those of its devices by kind; the devices of a host seldom change."""
    whole = {"server": server, "host": hostname}
    found: list[tuple[str, ...]] = []
    for kind, keys in zip(KINDS, layout.keys, strict=True):
        if kind is GPU:
            details = zip(keys, layout.gpu_details, strict=True)
            found.append(tuple(_gpu_label(whole, key, index, model) for key, (index, model) in details))
        else:
            found.append(tuple(labelled(**whole, **{LABELS[kind.prefix]: key}) for key in keys))
    return labelled(**whole), tuple(found)


def _gpu_label(whole: Mapping[str, str], gpu_id: str, index: int, model: str) -> str:
    return labelled(**whole, gpu=str(index), uuid=gpu_id, model=model)


def _live(hosts: Iterable[ScrapedHost]) -> str:
    figures = Figures()
    for host in hosts:
        if host.live is not None:
            _live_host(figures, host, host.live)
            _live_gpus(figures, host, host.live)
    return figures.text


def _live_host(figures: Figures, host: ScrapedHost, sample: HostSample) -> None:
    whole = {"server": host.server, "host": host.hostname}
    figures.add("appliance_host_uptime_seconds", "Since the host was started.", sample.uptime_seconds, **whole)
    for core, percent in enumerate(sample.cpu_core_percents):
        figures.add(
            "appliance_host_cpu_core_percent", "Busy share of a logical processor.", percent, **whole, core=str(core)
        )
    for system in sample.filesystems:
        labels = whole | {"mountpoint": system.mountpoint, "device": system.device, "fstype": system.fstype}
        for name, words, value in (
            ("total", "Size of a file system.", system.total_bytes),
            ("used", "Used of a file system.", system.used_bytes),
            ("free", "Free on a file system.", system.free_bytes),
        ):
            figures.add(f"appliance_filesystem_{name}_bytes", words, value, **labels)


def _live_gpus(figures: Figures, host: ScrapedHost, sample: HostSample) -> None:
    for gpu in sample.gpus:
        labels = {"server": host.server, "host": host.hostname, "gpu": str(gpu.gpu_index), "uuid": gpu.gpu_id}
        labels["model"] = gpu.model
        for each in LIVE:
            figures.add(each.name, each.words, each.read(gpu), kind=each.kind, **labels)
        reasons = gpu.throttle_reasons
        figures.add(
            "appliance_gpu_throttled",
            "Whether something holds the clocks down.",
            None if reasons is None else bool(reasons),
            **labels,
        )
        for reason in reasons or ():
            figures.add("appliance_gpu_throttle_reason", "What holds the clocks down now.", 1, **labels, reason=reason)
        figures.add("appliance_gpu_last_xid", "The last driver error.", host.last_xids.get(gpu.gpu_id), **labels)
        known = host.gpus.get(gpu.gpu_id)
        if known is not None:
            more = {"vendor": known.vendor, "driver_version": known.driver_version or ""}
            more |= {"pci_address": known.pci_address or "", "mig_profile": known.mig_profile or ""}
            figures.add("appliance_gpu_info", "What a GPU is.", 1, **labels, **more)


# ------------------------------------------------------------ dcgm-exporter's names


def _dcgm(hosts: Iterable[ScrapedHost]) -> Iterator[str]:
    labels: list[str] = []
    columns: list[list[float | None]] = [[] for _ in GPU_FIELDS]
    gauges, counters = len(GPU.gauges), len(GPU.counters)
    for host in hosts:
        row = host.row
        if row is None:
            continue
        found = _dcgm_labels(host, row.layout)
        labels += found
        # GPUs are the first kind of a row.
        for place in range(gauges):
            columns[place] += row.gauges[place : len(found) * gauges : gauges]
        for place in range(counters):
            columns[gauges + place] += row.counters[place : len(found) * counters : counters]
    for each in DCGM:
        wanted = [columns[GPU_FIELDS[name]] for name in each.fields]
        values = wanted[0] if each.make is None else each.make(*wanted)
        yield from family(each.name, each.words, each.kind, labels, values)


def _dcgm_labels(host: ScrapedHost, layout: Layout) -> Sequence[str]:
    if not host.gpus:
        return _bare_dcgm_labels(host.server, host.hostname, layout)
    details = zip(layout.keys[0], layout.gpu_details, strict=True)
    return [_dcgm_label(host.server, host.hostname, key, *detail, host.gpus.get(key)) for key, detail in details]


@lru_cache(maxsize=2048)
def _bare_dcgm_labels(server: str, hostname: str, layout: Layout) -> tuple[str, ...]:
    details = zip(layout.keys[0], layout.gpu_details, strict=True)
    return tuple(_dcgm_label(server, hostname, key, *detail, None) for key, detail in details)


def _dcgm_label(server: str, hostname: str, gpu_id: str, index: int, model: str, known: Gpu | None) -> str:
    """Return a GPU's labels as dcgm-exporter has them, and ``server``: two machines may have the same hostname."""
    labels = {"gpu": str(index), "UUID": gpu_id}
    if known is not None and known.pci_address:
        domain, _, place = known.pci_address.partition(":")
        labels["pci_bus_id"] = f"{domain:0>8}:{place}".upper()  # as NVML writes it
    labels |= {"device": f"{known.vendor if known else 'nvidia'}{index}", "modelName": model}
    if known is not None and known.mig_profile:
        labels["GPU_I_PROFILE"] = known.mig_profile
    labels["Hostname"] = hostname
    if known is not None and known.driver_version:
        labels["DCGM_FI_DRIVER_VERSION"] = known.driver_version
    return labelled(**labels, server=server)


def _dcgm_live(hosts: Iterable[ScrapedHost]) -> str:
    pieces: list[str] = []
    labels: list[str] = []
    samples, xids = [], []
    for host in hosts:
        for gpu in host.live.gpus if host.live is not None else ():
            labels.append(
                _dcgm_label(host.server, host.hostname, gpu.gpu_id, gpu.gpu_index, gpu.model, host.gpus.get(gpu.gpu_id))
            )
            samples.append(gpu)
            xids.append(host.last_xids.get(gpu.gpu_id, 0))
    for each in DCGM_LIVE:
        pieces += family(each.name, each.words, each.kind, labels, [each.read(gpu) for gpu in samples])
    pieces += family("DCGM_FI_DEV_XID_ERRORS", "Value of the last XID error encountered.", "gauge", labels, xids)
    return text_of(pieces)
