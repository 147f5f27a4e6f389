"""Model servers that keepalives tell of."""

from pathlib import Path

from appliance.testing import running
from tests.plugins.machine_registry.kit import agent

NODES = "/api/v1/inference/nodes"
POOL = {"name": "gpu", "gpu": "H100"}
SERVING = {"status": "running", "ip": "100.64.0.7", "port": 11434, "models": ["llama3", "", "qwen"]}


async def test_node_is_listed_while_its_server_runs_and_to_its_own_pool_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        assert (await appliance.control("POST", "/api/appliance/pools", POOL)).status == 201
        one, other = await agent(appliance, "gpu"), await agent(appliance)
        await one.register()
        await one.beat(inference=SERVING)
        said = (await one.get(NODES)).json
        (node,) = said["nodes"]
        assert (node["node_id"], node["tailscale_ip"], node["port"]) == (one.machine_id, "100.64.0.7", 11434)
        assert (node["gpu_type"], node["healthy"], sorted(node["models"])) == ("H100", True, ["llama3", "qwen"])
        assert said["stats"] == {
            "total_nodes": 1,
            "healthy_nodes": 1,
            "unhealthy_nodes": 0,
            "total_models": 2,
            "ready_models": 2,
        }
        assert (await other.get(NODES)).json["nodes"] == []
        assert (await appliance.get(NODES)).status == 403
        machines = appliance.running.plugins.parts["machine_registry"].surfaces[0].state.machines
        machines.get(("generic", "gpu", one.machine_id)).heard_us -= 151_000_000
        assert (await one.get(NODES)).json["nodes"][0]["healthy"] is False
        await one.beat(inference={"status": "stopped"})
        assert (await one.get(NODES)).json["nodes"] == []
        for wrong in ({"status": "running", "port": 70_000}, {"status": 5}, "running"):
            await one.beat(inference=wrong)
            assert (await one.get(NODES)).json["nodes"] == []


async def test_what_is_not_done_here_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        for method, path in (("POST", "chat/completions"), ("GET", "models"), ("POST", "nodes/x/heartbeat")):
            reply = await appliance.request(method, f"/api/v1/inference/{path}", body=b"anything")
            assert reply.status == 501
            assert reply.json["message"].startswith("not available because ")
