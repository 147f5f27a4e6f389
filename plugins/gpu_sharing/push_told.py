"""What people are told about push: with which variables an agent is started, and what it has to trust."""

from typing import Any, Final
from urllib.parse import urlsplit

from appliance.plugin import Core

from .settings import SharingSettings

FILE: Final = "/etc/gpu-sharing-authorities.pem"
"""Where ``authorities_pem`` is supposed to lie on the agent's host; any other place does as well."""
WILDCARDS: Final = ("0.0.0.0", "[::]", "")  # noqa: S104 (compared with, not listened on)


def told(core: Core, settings: SharingSettings) -> dict[str, Any]:
    """Return the proxy's address, the agent's variables and the certificates to trust; reads files."""
    from .push_ca import PushCertificates
    from .push_proxy import agent_environment

    host, _, port = settings.push_proxy_listen.rpartition(":")
    own = urlsplit(core.public_url()).hostname or "127.0.0.1"
    proxy = f"http://{own if host in WILDCARDS else host}:{port}"
    authorities = PushCertificates(core.folder / "push", now=core.now).authorities
    return {
        "proxy": proxy,
        "environment": agent_environment(proxy, FILE, direct=[own]),
        "authorities_pem": authorities.read_text() if authorities.exists() else "",
    }
