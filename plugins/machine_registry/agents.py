"""The command lines with which the open agents join, as these agents read them."""

from shlex import quote
from typing import Final
from urllib.parse import urlsplit

from .models import DEFAULT_PROVIDER, Machine

DEFAULT_PORT: Final = 80
NOTE: Final = (
    "The agents end after three missed keepalives, the Python one with exit status 0: under systemd they need"
    " Restart=always. They speak plain HTTP only."
)
TLS_NOTE: Final = " This address is HTTPS, which they cannot reach: add a listener without TLS, and name it here."


def commands(public_url: str, machine: Machine, token: str) -> tuple[dict[str, str], str]:
    """Return the command line of each agent, and what to know about both.

    The Python agent (0.1.0) and the Go agent (0.2.0) read the token from BETA9_TOKEN, which other users of the host
    cannot see; ``b9agent init`` writes it to its own file.
    """
    url = urlsplit(public_url)
    host, port = url.hostname or "localhost", url.port or (443 if url.scheme == "https" else DEFAULT_PORT)
    common = (
        f"--gateway-host {quote(host)} --gateway-port {port} --machine-id {quote(machine.machine_id)}"
        f" --pool-name {quote(machine.pool)} --provider-name {quote(machine.provider)}"
    )
    go = f"BETA9_TOKEN={quote(token)} b9agent --tui=false {common}"
    if machine.provider == DEFAULT_PROVIDER:  # its file has no place for any other
        go = (
            f"b9agent init --gateway {quote(host)} --port {port} --token {quote(token)}"
            f" --machine-id {quote(machine.machine_id)} --pool {quote(machine.pool)} && b9agent --tui=false"
        )
    shown = {"python": f"BETA9_TOKEN={quote(token)} python3 -m beta9_agent {common}", "go": go}
    return shown, NOTE + (TLS_NOTE if url.scheme == "https" else "")
