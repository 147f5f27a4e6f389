"""Queueing: atoms become packages of the active session, or of a new one."""

import re
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import trio
from attrs import frozen

from appliance.plugin import BadInput, Conflict, TooLarge

from . import atoms
from .book import BLOCKED
from .desk import SOME, Desk
from .rules import US, Moment
from .states import NO_NEEDS, OPEN, Package, Queued, QueueRequest, Session
from .waiting import Cut

READ_AT_ONCE = 500
"""Atoms that are read before others are let on."""
WAITS_MAX = 256
"""Names that one package can wait for."""
NAME_MAX_CHARS = 200
SESSION_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
PRIORITY_MAX = 1_000_000
NOBODY: Final[frozenset[str]] = frozenset()


class Tree(Protocol):
    """A Portage tree, as the queue uses it: `prepare` reads files in a thread, the others only what it found."""

    async def prepare(self, atoms: Sequence[str], queued: Collection[str]) -> None:
        """Look up what is to be queued, in bounded time; awaited before the other two are asked.

        :param queued: what is still to be built already: what ``atoms`` may wait for besides each other.
        """
        ...

    def expand(self, atom: str) -> str:
        """Return the atom with the version that would be built; as it is when it has one or nothing is known."""
        ...

    def needs(self, atom: str) -> Collection[str]:
        """Return the atoms that must be there before this one is built."""
        ...


@frozen
class Wanted:
    """One package to be queued."""

    atom: str
    key: str
    waits_for: tuple[str, ...] = ()
    """Names that the request gives: kept whatever the queue has."""
    needs_of_tree: tuple[str, ...] = ()
    """Names that the tree gives: kept where the queue has them."""


def wait_name(atom: str) -> str:
    """Return under which name an atom is waited for: an exact version by itself, all else by category and name."""
    normal = atoms.normalised(atom)
    is_exact = normal.startswith("=") and not normal.endswith("*")
    return normal if is_exact else atoms.key(normal)


async def read_request(
    request: QueueRequest, tree: Tree | None, *, queued: Callable[[], Collection[str]] = tuple
) -> list[Wanted]:
    """Check a request, and ask the tree for versions and dependencies.

    :param queued: returns the atoms that are still to be built; asked where there is a tree.
    :raises BadInput: an atom is none, or something is out of bounds.
    """
    if not request.atoms:
        raise BadInput("no packages given", hint='{"packages": ["category/name"]}', field="packages")
    if len(request.session_name) > NAME_MAX_CHARS:
        raise BadInput(f"a name of a session has at most {NAME_MAX_CHARS} characters", field="session_name")
    if request.session_id and re.fullmatch(SESSION_ID_PATTERN, request.session_id) is None:
        raise BadInput("an id of a session has 1 to 64 letters, digits, dots, dashes and underscores")
    if abs(request.priority) > PRIORITY_MAX:
        raise BadInput(f"a priority is from -{PRIORITY_MAX} to {PRIORITY_MAX}", field="priority")
    given = {atoms.normalised(atom): names for atom, names in request.waits_for.items()}
    if tree is not None:
        await tree.prepare([atoms.normalised(text) for text in request.atoms], queued())
    found: list[Wanted] = []
    for start in range(0, len(request.atoms), READ_AT_ONCE):
        found += [_wanted(text, given, tree) for text in request.atoms[start : start + READ_AT_ONCE]]
        await trio.lowlevel.checkpoint()
    return found


def _wanted(text: str, given: dict[str, tuple[str, ...]], tree: Tree | None) -> Wanted:
    atom, key, is_versioned = atoms.parsed(text)
    asked = atom
    needs: tuple[str, ...] = ()
    if tree is not None:
        if not is_versioned:
            atom, key, _ = atoms.parsed(tree.expand(atom))
        needs = tuple(wait_name(each) for each in tree.needs(atom))
    if not given and not needs:
        return Wanted(atom, key)
    names = tuple(dict.fromkeys(wait_name(each) for each in (*given.get(asked, ()), *given.get(atom, ()))))
    if len(names) > WAITS_MAX:
        raise BadInput(f"{atom} waits for more than {WAITS_MAX} others", field="waits_for")
    return Wanted(atom, key, names, needs)


def enqueue(desk: Desk, request: QueueRequest, wanted: Sequence[Wanted], at: Moment) -> Queued:
    """Queue what is not waiting or being built already.

    :raises Conflict: another session than the one that is named is active.
    :raises TooLarge: the queue would hold too many.
    """
    book = desk.book
    _check_session(desk, request)
    skipped: list[str] = []
    revived: list[Package] = []
    fresh: dict[str, Wanted] = {}
    for one in wanted:
        known = book.newest.get(one.atom)
        if one.atom in fresh or (known is not None and (known.state in OPEN or known in revived)):
            skipped.append(one.atom)
        elif known is not None and known.state is BLOCKED:
            revived.append(known)
        else:
            fresh[one.atom] = one
    held = len(book.packages) - sum(book.counts[state] for state in book.counts if state not in (*OPEN, BLOCKED))
    if held + len(fresh) > desk.settings.queue_packages_max:
        raise TooLarge(
            f"the queue holds {held} packages, and at most {desk.settings.queue_packages_max}",
            hint="let some be built, or raise queue_packages_max",
        )
    if request.portage_timestamp and request.portage_timestamp != book.expected_timestamp:
        book.expected_timestamp = request.portage_timestamp
        book.save_state()
    if not fresh and not revived:
        return Queued(packages=(), skipped=tuple(skipped), session=book.active)
    session = book.active or _open(desk, request, at)
    added = _make(desk, request, list(fresh.values()), session, at)
    cuts = book.cut_circles(added)
    book.add(added, session)
    for package in revived:
        package.priority = max(package.priority, request.priority)
        package.returns = 0
        desk.renew(package)
    _note(desk, request, [*added, *revived], session, cuts)
    return Queued(packages=(*added, *revived), skipped=tuple(skipped), session=session)


def _check_session(desk: Desk, request: QueueRequest) -> None:
    active = desk.book.active
    if request.session_id and active is not None and active.session_id != request.session_id:
        raise Conflict(
            f"session {active.session_id} is active", hint="packages join it without session_id, or when it is named"
        )


def _open(desk: Desk, request: QueueRequest, at: Moment) -> Session:
    known = desk.book.sessions.get(request.session_id)
    if known is not None:
        desk.book.reopen(known)
        return known
    session_id = request.session_id or new_session_id(at.unix_us, desk.book.sessions)
    session = Session(session_id=session_id, name=request.session_name or session_id, started_unix_us=at.unix_us)
    desk.book.open_session(session)
    return session


def new_session_id(unix_us: int, taken: Collection[str]) -> str:
    """Return ``session-YYYYmmdd-HHMMSS`` (UTC), with ``-2``, ``-3`` ... where that is taken."""
    base = f"session-{datetime.fromtimestamp(unix_us / US, UTC):%Y%m%d-%H%M%S}"
    number, made = 1, base
    while made in taken:
        number += 1
        made = f"{base}-{number}"
    return made


def _make(desk: Desk, request: QueueRequest, wanted: Sequence[Wanted], session: Session, at: Moment) -> list[Package]:
    book, failed_on = desk.book, desk.history.failed_on
    names: set[str] = set()
    if any(one.needs_of_tree for one in wanted):
        names = {name for one in wanted for name in (one.atom, one.key)}
    needs = request.needs if request.needs != NO_NEEDS else NO_NEEDS
    packages = []
    for number, one in enumerate(wanted, book.next_package_id):
        waits_for = one.waits_for
        if one.needs_of_tree:
            here = (each for each in one.needs_of_tree if each in names or book.waiting.is_open(each))
            waits_for = tuple(dict.fromkeys((*waits_for, *here)))
        if waits_for:
            waits_for = tuple(each for each in waits_for if each not in (one.key, one.atom))
        packages.append(
            Package(
                package_id=number,
                atom=one.atom,
                key=one.key,
                session_id=session.session_id,
                priority=request.priority,
                needs=needs,
                waits_for=waits_for,
                avoided_drones=frozenset(failed_on[one.atom]) if one.atom in failed_on else NOBODY,
                queued_unix_us=at.unix_us,
            )
        )
    return packages


def _note(
    desk: Desk,
    request: QueueRequest,
    packages: Sequence[Package],
    session: Session,
    cuts: Sequence[Cut],
) -> None:
    desk.note(
        "queue",
        f"{len(packages)} packages queued in {session.name}",
        packages=[package.atom for package in packages[:SOME]],
        count=len(packages),
        session_id=session.session_id,
        by=request.by,
    )
    if cuts:
        told = ", ".join(f"{atoms.spoken(package.atom)} for {atoms.spoken(name)}" for package, name in cuts[:SOME])
        desk.note("queue", f"packages wait for each other; these no longer do: {told}", count=len(cuts))
