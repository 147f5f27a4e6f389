"""What a start is given from outside."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from appliance.backends import DeviceBackend
from appliance.clock import Now, unix_now_us
from appliance.engines import TaskEngine
from appliance.host import Host
from appliance.people.passwords import Passwords
from appliance.systemd import Notifier


@frozen(kw_only=True)
class Options:
    """How to run; everything but the data directory has the value of a real start."""

    data_dir: Path
    config_file: Path | None = None
    listen: tuple[str, ...] = ()
    """Addresses of ``--listen``."""
    environment: Mapping[str, str] = field(factory=lambda: dict(os.environ))
    host: Host = field(factory=Host)
    now: Now = unix_now_us
    say: Callable[[str], None] = lambda line: None
    """Told the lines for whoever started us at a terminal."""
    notifier: Notifier = field(factory=Notifier)
    takes_signals: bool = False
    """Whether SIGTERM, SIGINT and SIGHUP are for us; only in the main thread of a process of our own."""
    inline_database: bool = False
    """Run the database in the calling thread: for tests under a mock clock."""
    passwords: Passwords = field(factory=Passwords)
    backends: Sequence[DeviceBackend] | None = None
    """Device backends instead of the plugins' own: for tests."""
    engines: Sequence[TaskEngine] | None = None
    """Task engines instead of the plugins' own: for tests."""
