"""A third party's plugin: a route, a service, a command, a setting, a panel; it knows only the public contract."""

import trio
from attrs import define, field, frozen

from appliance.plugin import (
    PERSON,
    Call,
    Command,
    Core,
    Panel,
    PanelContent,
    PanelRow,
    Parts,
    Surface,
    hookimpl,
    setting,
)

appliance_api = 1
api = Surface("fan", prefixes=("/api/fan",))


@frozen(kw_only=True)
class Settings:
    """What can be set."""

    target_rpm: int = setting(1200, help="How fast the fan should turn.")


@define
class Fan:
    """Turns."""

    core: Core
    name: str = "turner"
    turns: int = field(default=0)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Turn until cancelled."""
        task_status.started()
        while True:
            self.turns += 1
            await trio.sleep(0.05)


@api.get("/api/fan", caller=PERSON)
async def read(call: Call[None]) -> dict[str, int]:
    """Say how often it has turned, and how fast it should."""
    fan: Fan = call.state
    return {"turns": fan.turns, "target_rpm": fan.core.settings.target_rpm}


def show(api, arguments):  # type: ignore[no-untyped-def]
    """Print what the route answers."""
    answer = api.get("/api/fan").json
    print("fan target", answer["target_rpm"], *arguments)
    return 0


@hookimpl
def appliance_settings() -> type[Settings]:
    """Name the settings."""
    return Settings


@hookimpl
def appliance_commands() -> list[Command]:
    """Offer the command."""
    return [Command(name="fan", help="Show the fan.", target="plugins.fan:show")]


@hookimpl
def appliance_setup(core: Core) -> Parts:
    """Bind everything."""
    fan = Fan(core)

    def card() -> PanelContent:
        return PanelContent(rows=[PanelRow(label="turns", value=str(fan.turns))])

    return Parts(surfaces=[api.bind(fan)], services=[fan], panels=[Panel(name="card", title="Fan curve", read=card)])
