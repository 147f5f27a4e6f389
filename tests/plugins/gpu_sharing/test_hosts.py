import shutil
import subprocess
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.plugin import BadInput
from plugins.gpu_sharing.hosts import connection_host, connection_url, read_address, read_host


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("10.0.0.4", "10.0.0.4"),
        ("127.0.0.1", "127.0.0.1"),
        ("FD00::0:4", "fd00::4"),
        ("[fd00::4]", "fd00::4"),
        ("::ffff:10.0.0.4", "10.0.0.4"),
        ("[::FFFF:a00:4]", "10.0.0.4"),
        ("gpu-box", "gpu-box"),
        ("GPU-Box.Example.NET", "gpu-box.example.net"),
        ("gpu.example.net.", "gpu.example.net"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("4chan.org", "4chan.org"),
        ("a" * 63 + ".de", "a" * 63 + ".de"),
        ("1and1", "1and1"),
    ],
)
def test_addresses_and_host_names_pass_in_one_form(text: str, host: str) -> None:
    assert read_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        " 10.0.0.4",
        "10.0.0.4 ",
        "10.0.0.4\n",
        "gpu\n",
        "10.0.0.4:9001",
        "tcp://10.0.0.4",
        "user@host",
        "10.0.0.4/24",
        "$(reboot)",
        "`id`",
        'a";reboot;"',
        "a;reboot",
        "a\\b",
        "a!b",
        "a'b",
        "fe80::1%eth0",
        "fe80::1%$(reboot)",  # an address to Python's reader
        "[fe80::1%`id`]",
        "[10.0.0.4]",
        "[gpu-box]",
        "[::1",
        "::1]",
        "1.2.3",
        "1.2.3.4.5",
        "256.1.1.1",
        "010.0.0.4",  # octal to some
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "host.0x",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "::ffff:0.0.0.0",
        "::ffff:e000:1",
        "-a.example",
        "a-.example",
        "a..b",
        "under_score",
        "a" * 64,
        ".".join(["a" * 63] * 4),
        "b\u00fccher.example",
        "\u0661\u0660.0.0.4",  # Arabic digits
        "a\x00b",
        "a\ud800",
        "1" * 1_000_000,
    ],
)
def test_everything_else_is_refused_by_its_path(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_host(text)
    assert refused.value.field == "$.connection_ip"


def passed(text: str) -> str | None:
    try:
        return read_host(text)
    except BadInput:
        return None


@given(st.text(st.characters(codec="ascii"), max_size=30) | st.text(max_size=30))
def test_what_passes_has_no_character_that_a_shell_looks_at(text: str) -> None:
    host = passed(text)
    assert host is None or set(host) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-:")
    assert host is None or passed(host) == host


def is_reachable(address: IPv4Address | IPv6Address) -> bool:
    return not (address.is_unspecified or address.is_multicast or getattr(address, "ipv4_mapped", None))


@given(st.ip_addresses().filter(is_reachable).map(str))
def test_every_address_passes_unless_it_has_a_zone(text: str) -> None:
    assert passed(text) == text
    assert read_address(f"{text}%eth0") is None


@pytest.mark.parametrize("shell", [each for each in ("dash", "bash") if shutil.which(each)])
@pytest.mark.parametrize("host", ["fd00::4", "gpu-box.example.net", "10.0.0.4"])
def test_url_survives_the_eval_of_guests(shell: str, host: str) -> None:
    url = connection_url(host, 9001)
    line = f'eval \'export X="{url}+CODE"\'; printf %s "$X"'
    assert subprocess.run([shell, "-c", line], capture_output=True, text=True, check=True).stdout == f"{url}+CODE"


def test_address_of_ipv6_stands_in_brackets_in_a_url() -> None:
    assert connection_url("fd00::4", 9001) == "tcp://[fd00::4]:9001"
    assert connection_url("10.0.0.4", 9001) == "tcp://10.0.0.4:9001"


@pytest.mark.parametrize(
    ("asked", "network_ips", "host"),
    [
        ("gpu-box", ["10.0.0.4"], "gpu-box"),
        ("", ["10.0.0.4", "10.0.0.5"], "10.0.0.4"),
        ("", ["$(reboot)", "gpu-box", "fe80::1%eth0", "0.0.0.0", "fd00::4"], "fd00::4"),
        ("", [], "192.0.2.7"),
        ("", ["", "nonsense"], "192.0.2.7"),
    ],
)
def test_without_a_connection_ip_guests_get_the_agents_first_address(
    asked: str, network_ips: list[str], host: str
) -> None:
    assert connection_host(asked, network_ips=network_ips, reported_from="192.0.2.7") == host


def test_agent_without_any_address_needs_a_connection_ip() -> None:
    with pytest.raises(BadInput, match="told no address") as refused:
        connection_host("", network_ips=["x y"], reported_from="")
    assert refused.value.field == "$.connection_ip"


def test_bad_connection_ip_is_refused_even_where_the_agent_has_an_address() -> None:
    with pytest.raises(BadInput):
        connection_host("$(reboot)", network_ips=["10.0.0.4"], reported_from="")
