from typing import Any

import pytest

from appliance.config.structure import structure
from appliance.loading import _unfit
from plugins.gpu_sharing.settings import SharingSettings, read_ports


def read(**table: Any) -> SharingSettings:
    made, faults = structure(SharingSettings, table)
    assert not faults, faults
    assert isinstance(made, SharingSettings)
    return made


def faults(**table: Any) -> list[tuple[str, str]]:
    return [(".".join(map(str, each.path)), each.expected) for each in structure(SharingSettings, table)[1]]


def test_every_setting_has_a_default_and_a_help() -> None:
    assert _unfit(SharingSettings) is None


def test_defaults_are_the_decided_ones() -> None:
    made = read()
    assert made.plan("anybody").name == "team"
    assert made.vendors == ("nvidia", "amd")
    assert read_ports(made.relay_ports) == range(20000, 30000)
    assert made.relay_access == "redeemed"
    assert made.redeemed_hours == 12
    assert (made.push_proxy, made.push_proxy_forward) == (False, False)
    assert made.command("worker_1", "default") is None


def test_plans_and_people_are_read_from_toml() -> None:
    made = read(
        plans={"lab": {"gpus_per_agent": 2, "agents": "unlimited"}, "free": {"metrics": True}},
        people={"ann": "lab", "bob@example.net": "free"},
        default_plan="personal",
    )
    assert made.plan("ann").gpus_per_agent == 2
    assert made.plan("ann").agents is None
    assert made.plan("bob@example.net").metrics
    assert made.plan("eve").name == "personal"


@pytest.mark.parametrize(
    ("table", "path", "words"),
    [
        ({"plans": {"lab": {"agents": -1}}}, "plans.lab.agents", "a whole number from 0"),
        ({"plans": {"lab": {"agents": "many"}}}, "plans.lab.agents", "a whole number"),
        ({"plans": {"lab": {"agents": True}}}, "plans.lab.agents", "a whole number"),
        ({"plans": {"lab": {"metrics": 1}}}, "plans.lab.metrics", "true or false"),
        ({"plans": {"lab": {"gpus": 1}}}, "plans.lab.gpus", "a known key"),
        ({"plans": {"a b": {}}}, "plans", "names of 1 to 64"),
        ({"plans": {"x" * 65: {}}}, "plans", "names of 1 to 64"),
        ({"people": {"ann": "gold"}}, "", "a plan that exists, not 'gold': free, personal, pro, team"),
        ({"default_plan": "gold"}, "", "a plan that exists"),
        ({"default_plan": ""}, "default_plan", "matching"),
        ({"vendors": ["NVIDIA"]}, "vendors", "in lower case"),
        ({"vendors": "nvidia"}, "vendors", "a list"),
        ({"short_link_base": "ftp://x"}, "short_link_base", "http://"),
        ({"short_link_base": "https://x/?a=1"}, "short_link_base", "no query"),
        ({"short_link_base": "https://x/$(id)"}, "short_link_base", "a URL"),
        ({"relay_ports": "20000"}, "relay_ports", "two ports"),
        ({"relay_ports": "30000-20000"}, "relay_ports", "two ports"),
        ({"relay_ports": "80-100"}, "relay_ports", "two ports"),
        ({"relay_ports": "20000-70000"}, "relay_ports", "two ports"),
        ({"relay_access": "closed"}, "relay_access", "one of"),
        ({"relay_networks": ["10.0.0.1/8"]}, "relay_networks", "a network"),
        ({"redeemed_hours": 0}, "redeemed_hours", "at least 0.01"),
        ({"relay_connections": 0}, "relay_connections", "at least 1"),
        ({"commands": {"ssh": {}}}, "commands.ssh", "a program and its arguments"),
        ({"commands": {"ssh": {"argv": []}}}, "commands.ssh.argv", "a program and its arguments"),
        ({"commands": {"ssh": {"argv": ["a\0b"]}}}, "commands.ssh.argv", "without NUL"),
        ({"commands": {"ssh": {"argv": ["a"], "user": "x;y"}}}, "commands.ssh.user", "matching"),
        ({"commands": {"ssh": {"argv": ["a"], "environment": {"A=B": ""}}}}, "commands.ssh.environment", "variables"),
        ({"worker_commands": {"w": "ssh"}}, "", "a command that exists, not 'ssh': none does"),
        ({"default_command": "ssh"}, "", "a command that exists"),
        ({"push_proxy_listen": "8090"}, "push_proxy_listen", "HOST:PORT"),
        ({"push_proxy_listen": "::1:8090"}, "push_proxy_listen", "HOST:PORT"),
        ({"push_proxy_listen": "host:99999"}, "push_proxy_listen", "HOST:PORT"),
        ({"push_proxy": "yes"}, "push_proxy", "true or false"),
    ],
)
def test_mistakes_are_told_with_their_place(table: dict[str, Any], path: str, words: str) -> None:
    found = faults(**table)
    assert any(place == path and words in expected for place, expected in found), found


def test_worker_of_this_host_runs_the_command_of_its_id_then_its_name_then_the_default() -> None:
    commands = {name: {"argv": [name, "{port}"]} for name in ("ssh", "lab", "infer")}
    made = read(commands=commands, worker_commands={"worker_1": "ssh", "notebook": "lab"}, default_command="infer")
    chosen = [made.command(*each) for each in (("worker_1", "notebook"), ("worker_2", "notebook"), ("worker_3", "x"))]
    assert [each.argv[0] for each in chosen if each] == ["ssh", "lab", "infer"]


@pytest.mark.parametrize("listen", ["127.0.0.1:8090", "[::1]:0", "proxy.example.net:65535"])
def test_push_proxy_listens_where_it_is_told(listen: str) -> None:
    assert read(push_proxy_listen=listen).push_proxy_listen == listen
