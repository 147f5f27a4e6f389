"""The command lines that people are given: what the agents' own option readers take."""

import argparse
import shlex

import pytest

from plugins.machine_registry.agents import commands
from plugins.machine_registry.life import Status
from plugins.machine_registry.models import Machine

TOKEN = "swwMV_WA4C-x=="


def machine(provider: str = "generic") -> Machine:
    return Machine(
        provider=provider,
        pool="gpu",
        machine_id="1165a9b6",
        host_id="machine-1",
        status=Status.PENDING,
        deadline_us=0,
        heard_us=0,
    )


def options(*names: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    for name in names:
        parser.add_argument(f"--{name}")
    return parser


PYTHON = ("token", "machine-id", "pool-name", "provider-name", "gateway-host", "gateway-port", "hostname", "k3s-token")
GO_INIT = ("gateway", "port", "token", "machine-id", "pool", "hostname", "k3s-token")


def test_python_agent_is_given_its_token_in_the_environment_and_only_options_that_it_has() -> None:
    shown, note = commands("http://hub.example:1994", machine("aws"), TOKEN)
    words = shlex.split(shown["python"])
    assert words[:4] == [f"BETA9_TOKEN={TOKEN}", "python3", "-m", "beta9_agent"]
    asked = vars(options(*PYTHON).parse_args(words[4:]))
    assert {name: value for name, value in asked.items() if value is not None} == {
        "gateway_host": "hub.example",
        "gateway_port": "1994",
        "machine_id": "1165a9b6",
        "pool_name": "gpu",
        "provider_name": "aws",
    }
    assert "Restart=always" in note
    assert "HTTPS" not in note


def test_go_agent_writes_its_file_and_starts_from_it() -> None:
    words = shlex.split(commands("http://hub.example:1994", machine(), TOKEN)[0]["go"])
    end = words.index("&&")
    assert words[:2] == ["b9agent", "init"]
    asked = vars(options(*GO_INIT).parse_args(words[2:end]))
    assert (asked["gateway"], asked["port"], asked["token"], asked["pool"]) == ("hub.example", "1994", TOKEN, "gpu")
    assert words[end + 1 :] == ["b9agent", "--tui=false"]


def test_go_agent_of_another_provider_is_started_with_options_since_its_file_has_no_place_for_that() -> None:
    words = shlex.split(commands("http://hub.example:1994", machine("aws"), TOKEN)[0]["go"])
    assert words[:3] == [f"BETA9_TOKEN={TOKEN}", "b9agent", "--tui=false"]
    assert vars(options(*PYTHON).parse_args(words[3:]))["provider_name"] == "aws"


@pytest.mark.parametrize(
    ("url", "port"),
    [("http://hub", "80"), ("https://hub", "443"), ("https://hub:8443", "8443"), ("http://[::1]:99", "99")],
)
def test_port_is_that_of_our_address_and_https_is_warned_of(url: str, port: str) -> None:
    shown, note = commands(url, machine(), TOKEN)
    assert f"--gateway-port {port} " in shown["python"]
    assert ("HTTPS" in note) == url.startswith("https")
