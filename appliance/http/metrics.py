"""Requests, counted: by endpoint and status, with how long they took."""

from bisect import bisect_left

from attrs import define, field

from appliance.http.routing import Route
from appliance.prometheus import escaped

BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@define(eq=False)
class _Series:
    count: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(factory=lambda: [0] * (len(BUCKETS_SECONDS) + 1))


@define(eq=False)
class RequestMetrics:
    """Counters of this process; they start at zero with it."""

    _series: dict[tuple[int, int], _Series] = field(factory=dict)
    _labels: dict[int, tuple[str, str, str]] = field(factory=dict)
    connections: int = 0
    """Open now."""
    failed_connections: int = 0
    """Ended by an exception of ours."""
    refused_connections: int = 0
    """Over the limit of one peer."""

    def count(self, route: Route | None, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (id(route.endpoint) if route is not None else 0, status)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
            if route is None:
                self._labels[0] = ("", "", "")
            else:
                self._labels[key[0]] = (route.endpoint.surface, route.endpoint.method, route.endpoint.path)
        series.count += 1
        series.seconds += seconds
        series.buckets[bisect_left(BUCKETS_SECONDS, seconds)] += 1

    def prometheus(self) -> str:
        """Return the section of ``/metrics``."""
        lines = [
            "# HELP appliance_http_connections Open HTTP connections.",
            "# TYPE appliance_http_connections gauge",
            f"appliance_http_connections {self.connections}",
            "# HELP appliance_http_connections_failed_total Connections ended by an exception.",
            "# TYPE appliance_http_connections_failed_total counter",
            f"appliance_http_connections_failed_total {self.failed_connections}",
            "# HELP appliance_http_connections_refused_total Connections over the limit of one peer.",
            "# TYPE appliance_http_connections_refused_total counter",
            f"appliance_http_connections_refused_total {self.refused_connections}",
        ]
        name = "appliance_http_request_duration_seconds"
        if self._series:  # a family without a line is none
            lines += [f"# HELP {name} Time from head to answer, by endpoint and status.", f"# TYPE {name} histogram"]
        for (key, status), series in self._series.items():
            surface, method, path = self._labels[key]
            labels = f'surface="{surface}",method="{method}",path="{escaped(path)}",status="{status}"'
            total = 0
            for bound, count in zip((*BUCKETS_SECONDS, "+Inf"), series.buckets, strict=True):
                total += count
                lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {total}')
            lines.append(f"{name}_sum{{{labels}}} {series.seconds:.6f}")
            lines.append(f"{name}_count{{{labels}}} {series.count}")
        return "\n".join(lines) + "\n"
