"""What ``[plugins.build_swarm]`` can say: each part of the swarm declares its own group, beside itself."""

from attrs import frozen

from .admin_settings import AdminSettings
from .binhost_settings import BinhostSettings
from .build_logs.settings import LogSettings
from .local.settings import LocalSettings
from .payloads.settings import PayloadSettings
from .portage_tree.settings import TreeSettings
from .public_settings import PublicSettings
from .queue_settings import QueueSettings
from .records.settings import RecordsSettings
from .ssh_settings import SshSettings


@frozen(kw_only=True, slots=False)
class SwarmSettings(
    AdminSettings,
    PublicSettings,
    QueueSettings,
    RecordsSettings,
    LogSettings,
    TreeSettings,
    LocalSettings,
    PayloadSettings,
    SshSettings,
    BinhostSettings,
):
    """Settings of the build swarm.

    A group is a class of its own (``@frozen(kw_only=True, slots=False)``), made only of `setting` with names that
    begin with the word of its part, and becomes a base of this one.
    """
