"""As whom a worker's command runs: never as ourselves, unless the operator has written that it may."""

import os
import pwd
from collections.abc import Iterable
from typing import Final

from attrs import frozen

from ..settings import CommandSettings

NO_USER: Final = (
    "not available because its command names no user, and a sandbox without our network could not be reached by the"
    " relay: set user for it, or unsafe_same_uid = true"
)
NOT_ROOT: Final = (
    "not available because the appliance does not run as root and so cannot run a command as another user, and a"
    " sandbox without our network could not be reached by the relay: unsafe_same_uid = true would run it as ourselves"
)
SAME_UID: Final = (
    "not available because its command would run as the appliance's own user: set another user, or"
    " unsafe_same_uid = true"
)
AS_ROOT: Final = "not available because a worker's command does not run as root: set another user"


@frozen(kw_only=True)
class Identity:
    """Who runs a command."""

    uid: int
    gid: int
    name: str
    """The account whose groups it gets; empty for our own, whose groups it keeps."""
    home: str
    is_own: bool = False
    """Whether that is the appliance's own user, from whom nothing of ours is hidden."""


def identity_of(command: CommandSettings) -> Identity | str:
    """Return as whom a command runs, or in plain words why it does not."""
    own = os.geteuid()
    if not command.user:
        if command.unsafe_same_uid:
            return _own()
        return NO_USER if own == 0 else NOT_ROOT
    try:
        person = pwd.getpwnam(command.user)
    except KeyError:
        return f"not available because there is no user {command.user!r} on this host"
    if person.pw_uid == own:
        return _own() if command.unsafe_same_uid else SAME_UID
    if person.pw_uid == 0:
        return AS_ROOT
    if own != 0:
        return NOT_ROOT
    return Identity(uid=person.pw_uid, gid=person.pw_gid, name=person.pw_name, home=person.pw_dir)


def may_use_own_uid(commands: Iterable[CommandSettings]) -> bool:
    """Whether one of these commands may run as the appliance's own user: then nobody of it is to be trusted."""
    return any(command.unsafe_same_uid for command in commands)


def _own() -> Identity:
    return Identity(uid=os.geteuid(), gid=os.getegid(), name="", home=os.path.expanduser("~"), is_own=True)
