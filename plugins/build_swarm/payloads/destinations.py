"""Where payloads go on drones."""

from collections.abc import Mapping
from posixpath import basename, dirname, join
from typing import Final

from attrs import frozen

from .settings import PayloadDestination, PayloadSettings


@frozen(kw_only=True)
class Destination:
    """The file that a type of payload becomes."""

    path: str
    mode: int
    restart: bool
    """Whether a rolling deploy with a health check restarts the drone's service after it."""

    @property
    def kept(self) -> str:
        """Where the file before it is kept until a deploy is over.

        In the same folder, so that it comes back by one rename. Hidden, since both OpenRC (``/etc/init.d``) and Portage
        (``/etc/portage``) take every other file that they find there for one of theirs.
        """
        return join(dirname(self.path), f".{basename(self.path)}.swarm-previous")


SHIPPED: Final[Mapping[str, Destination]] = {
    "drone_binary": Destination(path="/usr/local/bin/swarm-drone", mode=0o755, restart=True),
    "init_script": Destination(path="/etc/init.d/swarm-drone", mode=0o755, restart=True),
    "config": Destination(path="/etc/swarm-drone/config.json", mode=0o644, restart=False),
    "portage_config": Destination(path="/etc/portage/repos.conf/binhost.conf", mode=0o644, restart=False),
}
"""As the documented server has them."""
_OTHER_MODE: Final = 0o644


def destination(settings: PayloadSettings, payload_type: str) -> Destination:
    """Return where a type goes, as configured, else as shipped, else below ``payload_folder``.

    The documented server puts other types into /tmp, where any user of the drone may have made that file or a link of
    its name before: what root writes there is not safe.
    """
    shipped = SHIPPED.get(
        payload_type, Destination(path=f"{settings.payload_folder}/{payload_type}", mode=_OTHER_MODE, restart=False)
    )
    said = settings.payload_destinations.get(payload_type, PayloadDestination())
    return Destination(
        path=said.path or shipped.path,
        mode=int(said.mode, 8) if said.mode else shipped.mode,
        restart=shipped.restart if said.restart is None else said.restart,
    )
