"""What the registry shows elsewhere: a card on the overview, and its section of ``/metrics``."""

from collections.abc import Callable

from appliance.plugin import Panel, PanelContent, PanelRow

from .life import State, is_listed
from .models import Machine
from .state import RegistryState


def panel(state: RegistryState) -> Panel:
    """Return the card: each pool's machines and GPUs."""

    def read() -> PanelContent:
        rows = []
        by_pool: dict[str, list[tuple[State, Machine]]] = {}
        for each in state.machines.all():  # once, not for each pool: there may be a thousand
            by_pool.setdefault(each.pool, []).append((state.machines.state(each), each))
        for pool in state.pools.all():
            states = by_pool.get(pool.name, [])
            ready = [machine for found, machine in states if is_listed(found)]
            gone = sum(found is State.EXPIRED for found, _ in states)
            gpus = sum(machine.gpu_count for machine in ready)
            words = f"{len(ready)} ready of {len(states)}, {gpus} GPUs"
            rows.append(PanelRow(label=pool.name, value=words, level="warning" if gone else "info"))
        return PanelContent(rows=rows)

    return Panel(name="machines", title="Machines", read=read)


def section(state: RegistryState) -> Callable[[], str]:
    """Return what is asked at every scrape: machines by pool and state, GPUs by pool."""

    def text() -> str:
        counted: dict[tuple[str, str], int] = {}
        gpus: dict[str, int] = {}
        for pool in state.pools.all():
            gpus[pool.name] = 0
            for each in State:
                counted[pool.name, each.value] = 0
        for machine in state.machines.all():
            found = state.machines.state(machine)
            counted[machine.pool, found.value] = counted.get((machine.pool, found.value), 0) + 1
            if is_listed(found):
                gpus[machine.pool] = gpus.get(machine.pool, 0) + machine.gpu_count
        lines = [
            "# HELP appliance_registry_machines Machines of the registry by pool and state.",
            "# TYPE appliance_registry_machines gauge",
            *(
                f'appliance_registry_machines{{pool="{_escaped(pool)}",state="{name}"}} {count}'
                for (pool, name), count in counted.items()
            ),
            "# HELP appliance_registry_gpus GPUs of the ready machines by pool.",
            "# TYPE appliance_registry_gpus gauge",
            *(f'appliance_registry_gpus{{pool="{_escaped(pool)}"}} {count}' for pool, count in gpus.items()),
        ]
        return "\n".join(lines) + "\n"

    return text


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
