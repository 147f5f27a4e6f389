"""What an agent says about itself, as it is kept."""

from collections.abc import Mapping
from typing import Any, Final

from .models import Agent, Server
from .slugs import user_shown

VERSION_CHARACTERS: Final = 64
HOSTNAME_CHARACTERS: Final = 255


def agent_of(said: Mapping[str, Any], server: Server) -> Agent:
    """Return what is known of an agent once it has said something: what it leaves out stays as it was."""
    return Agent(
        version=_text(said, "version", VERSION_CHARACTERS) or server.agent_version,
        hostname=_text(said, "hostname", HOSTNAME_CHARACTERS) or server.hostname,
        user=user_shown(_text(said, "user", HOSTNAME_CHARACTERS)) or server.agent_user,
        info=said or server.agent_info,
    )


def _text(said: Mapping[str, Any], name: str, characters: int) -> str:
    value = said.get(name)
    if not isinstance(value, str):
        return ""
    return "".join(each for each in value if each.isprintable()).strip()[:characters]
