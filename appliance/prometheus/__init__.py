"""``/metrics``: the Prometheus text format, version 0.0.4, written by ourselves and fast."""

from appliance.prometheus.hosts import NAMES, ScrapedHost, hosts_text
from appliance.prometheus.text import Figures, escaped

__all__ = ["NAMES", "Figures", "ScrapedHost", "escaped", "hosts_text"]
