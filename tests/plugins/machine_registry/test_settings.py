"""What can be written of pools and workspaces."""

import pytest

from plugins.machine_registry.settings import PoolSettings, RegistrySettings, WorkspaceSettings


def test_everything_may_be_left_out() -> None:
    made = RegistrySettings()
    assert (dict(made.pools), dict(made.workspaces), made.revive_on_keepalive) == ({}, {}, False)
    assert PoolSettings().provider == "generic"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "-a", "x" * 65, "pool\n"])
def test_name_that_no_address_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        RegistrySettings(pools={name: PoolSettings()})
    with pytest.raises(ValueError, match="letters, digits"):
        RegistrySettings(workspaces={name: WorkspaceSettings()})
    if name:
        with pytest.raises(ValueError, match="must match"):
            PoolSettings(gpu=name)
