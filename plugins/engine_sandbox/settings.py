"""What ``[plugins.engine_sandbox]`` can say."""

from typing import Literal

from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, le, matches_re

from appliance.plugin import setting

FREE_UIDS_BEGIN = 1_879_048_192
"""The first that neither systemd nor distributions give away (systemd's page "Users, Groups, UIDs and GIDs")."""


@frozen(kw_only=True)
class SandboxSettings:
    """Settings of the engines ``sandbox`` and ``process``."""

    limits: Literal["required", "advisory"] = setting(
        "required",
        help='What if this host lets us set no limits: "required" runs nothing, "advisory" runs tasks without them.',
    )
    cgroup: str = setting(
        "appliance",
        help="Name of the folder, in each control group hierarchy, that the groups of tasks are made in.",
        validator=matches_re(r"[a-z0-9][a-z0-9._-]{0,62}"),
    )
    first_uid: int = setting(
        FREE_UIDS_BEGIN,
        help="As root: the first of the user ids that tasks run as, each task as one of its own.",
        validator=and_(ge(1000), le(2_147_000_000)),
    )
    uids: int = setting(
        4096, help="How many such user ids there are: no more tasks run at once.", validator=and_(ge(1), le(100_000))
    )
    group: str = setting(
        "",
        help="As root: a group that tasks belong to besides, so that folders lent as volumes can be given to it.",
        validator=matches_re(r"(?:[a-z_][a-z0-9_-]{0,31}\$?)?"),
    )
    host_folders: tuple[str, ...] = setting(
        (),
        help='Further folders of this host that tasks in the image "host" can read, such as /opt/rocm.',
        validator=deep_iterable(matches_re(r"/[^\0]+")),
    )
    image_bytes_max: int = setting(
        64 * 2**30, help="Largest root file system that is imported, unpacked.", validator=ge(1)
    )
    log_bytes: int = setting(
        64 * 2**20,
        help="How much of what a task prints is kept by the engine; what comes after is counted, and lost.",
        validator=and_(ge(4096), le(2**40)),
    )
    process: bool = setting(
        False,
        help="Offer the engine process: plain processes that see all that their user sees on this host.",
    )
    process_folder: str = setting(
        "",
        help="Where the engine process keeps its tasks' folders; empty: /var/lib/appliance-tasks as root.",
        validator=matches_re(r"(?:/[^\0]+)?"),
    )
    unsafe_same_uid: bool = setting(
        False,
        help="Let the engine process run tasks as the appliance's own user, from whom nothing is hidden.",
    )
