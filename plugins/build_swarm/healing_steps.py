"""What the steps of self-healing run on a drone."""

from typing import Final

from attrs import frozen

from .approval import Approval
from .ladder import Step
from .service_scripts import QUIETLY, RESTART
from .ssh import Ssh
from .ssh_command import SshFailed, words_of
from .ssh_settings import SshSettings

_KILL: Final = f"""\
{QUIETLY}
if command -v rc-service >/dev/null 2>&1; then
    pkill -9 -f -- "$2"
    rc-service "$1" zap </dev/null >/dev/null 2>&1
    quietly rc-service "$1" start
else
    systemctl kill --signal=SIGKILL "$1" </dev/null >/dev/null 2>&1
    pkill -9 -f -- "$2"
    systemctl reset-failed "$1" </dev/null >/dev/null 2>&1
    quietly systemctl start "$1"
fi
"""
# The connection is ended before the machine goes down, so that a reboot that has begun is known to have.
_REBOOT: Final = """\
command -v reboot >/dev/null 2>&1 || { echo "there is no reboot here" >&2; exit 127; }
(sleep 1; reboot) </dev/null >/dev/null 2>&1 &
"""
_SCRIPTS: Final = {Step.RESTART: RESTART, Step.KILL: _KILL, Step.REBOOT: _REBOOT}


@frozen(kw_only=True)
class Taken:
    """How a step's command went."""

    has_worked: bool
    words: str


async def take(ssh: Ssh, approval: Approval, step: Step, settings: SshSettings) -> Taken:
    """Take a step on a drone; the last one, which only tells, always works.

    :raises NotApproved: the approval counts no more.
    :raises NotAvailable: there is no ssh here.
    """
    if step is Step.ALERT:
        return Taken(has_worked=True, words="people were told")
    argv = ["sh", "-c", _SCRIPTS[step], "heal", settings.ssh_drone_service, settings.ssh_drone_process]
    try:
        ran = await ssh.run(approval, argv, deadline_s=settings.ssh_command_seconds)
    except SshFailed as failure:
        return Taken(has_worked=False, words=f"{step.words} failed: {failure.text}")
    if ran.status != 0:
        return Taken(has_worked=False, words=f"{step.words} failed: {words_of(ran.stderr) or f'status {ran.status}'}")
    return Taken(has_worked=True, words=f"{step.words} done")
