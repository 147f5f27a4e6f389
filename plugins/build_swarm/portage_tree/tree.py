"""The tree as the queue uses it: looked up in a thread, in bounded time, and remembered for a while."""

import os
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, TypeVar

import structlog
import trio
from attrs import define, field

from . import atoms
from .dependencies import flattened, without_circles
from .repository import Entry, Repository
from .settings import AUTO, OFF, TreeSettings

log = structlog.get_logger(__name__)

USUAL: Final = Path("/var/db/repos/gentoo")
LOOK_SECONDS: Final = 10.0
"""What was not looked up by then is queued as it was asked for, and waits for nothing."""
REMEMBERED_MAX: Final = 200_000
T = TypeVar("T")
_ARCHITECTURES: Final = {
    "x86_64": "amd64", "i686": "x86", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64", "riscv64": "riscv",
}  # fmt: skip


def tree_of(settings: TreeSettings, *, usual: Path = USUAL, machine: str | None = None) -> "PortageTree | None":
    """Return the tree that the settings name, or the usual one; ``None`` where there is none."""
    if settings.tree_path == OFF:
        return None
    path = usual if settings.tree_path == AUTO else Path(settings.tree_path)
    processor = os.uname().machine if machine is None else machine
    keywords = settings.tree_keywords or (_ARCHITECTURES.get(processor, processor),)
    repository = Repository(path, keywords)
    if not repository.cache.is_dir():
        if settings.tree_path != AUTO:
            log.warning("swarm_tree.unusable", path=str(path), reason="it has no metadata/md5-cache")
        return None
    return PortageTree(repository)


@define(eq=False)
class PortageTree:
    """One tree, with what was found in it lately."""

    repository: Repository
    look_seconds: float = LOOK_SECONDS
    _expanded: OrderedDict[str, str] = field(factory=OrderedDict, init=False)
    _needs: OrderedDict[str, tuple[str, ...]] = field(factory=OrderedDict, init=False)
    _lock: trio.Lock = field(factory=trio.Lock, init=False)

    async def prepare(self, atoms: Sequence[str], queued: Collection[str]) -> None:
        """Look up what is to be queued; ``queued`` is what is still to be built already."""
        async with self._lock:
            wanted, present = list(atoms), list(queued)
            look = _Look(self.repository, time.monotonic() + self.look_seconds)
            await trio.to_thread.run_sync(look.over, wanted, present)
            if look.is_late:
                log.warning("swarm_tree.slow", path=str(self.repository.path), effect="some are queued as asked for")
            _remember(self._expanded, look.expanded)
            _remember(self._needs, look.needs)

    def expand(self, atom: str) -> str:
        """Return the atom with the version that would be built; as it is when it has one or nothing is known."""
        return self._expanded.get(atom, atom)

    def needs(self, atom: str) -> tuple[str, ...]:
        """Return those of what `prepare` was told of that must be there before an expanded atom is built."""
        return self._needs.get(atom, ())


def _remember(known: OrderedDict[str, T], found: dict[str, T]) -> None:
    for name, value in found.items():
        known[name] = value
        known.move_to_end(name)
    while len(known) > REMEMBERED_MAX:
        known.popitem(last=False)


@define(eq=False)
class _Look:
    """One look at a tree, in a thread."""

    repository: Repository
    until: float
    """Of the monotonic clock."""
    is_late: bool = False
    expanded: dict[str, str] = field(factory=dict, init=False)
    needs: dict[str, tuple[str, ...]] = field(factory=dict, init=False)

    def over(self, wanted: list[str], queued: list[str]) -> None:
        """Expand all of ``wanted``, then find what waits for what."""
        chosen = list[str]()
        for atom in wanted:
            self.expanded[atom] = self._best(atom)
            chosen.append(self.expanded[atom])
        by_key: dict[str, list[str]] = {}
        for atom in dict.fromkeys([*chosen, *queued]):
            if (found := atoms.read(atom)) is not None:
                by_key.setdefault(found.key, []).append(atom)
        surely: dict[str, set[str]] = {}
        perhaps: dict[str, set[str]] = {}
        run: dict[str, set[str]] = {}
        for atom in dict.fromkeys(chosen):
            entry = self._entry(atom)
            if entry is not None:
                surely[atom], perhaps[atom] = self._among(entry.build, by_key)
                run[atom] = set().union(*self._among(entry.run, by_key))
        self.needs = {atom: tuple(sorted(names)) for atom, names in without_circles((surely, perhaps, run)).items()}

    def _has_time(self) -> bool:
        self.is_late = self.is_late or time.monotonic() > self.until
        return not self.is_late

    def _best(self, atom: str) -> str:
        wanted = atoms.read(atom)
        if wanted is None or wanted.operator or not self._has_time():
            return atom
        found = self.repository.best(wanted)
        return atom if found is None else f"={wanted.key}-{found.version}" + (f":{wanted.slot}" if wanted.slot else "")

    def _entry(self, atom: str) -> Entry | None:
        """Return what the tree says of the version that an atom stands for."""
        wanted = atoms.read(atom)
        if wanted is None or not self._has_time():
            return None
        if wanted.operator == "=" and not wanted.is_glob:
            return self.repository.entry(wanted.key, wanted.version)
        return self.repository.best(wanted)

    def _among(self, dependency: str, by_key: dict[str, list[str]]) -> tuple[set[str], set[str]]:
        """Return which of the queued packages a dependency asks for: surely, and under flags and choices."""
        found = (set[str](), set[str]())
        for asked in flattened(dependency):
            for atom in by_key.get(asked.wanted.key, ()):
                queued = atoms.read(atom)
                # A queued atom without a version, or with a range, may become what is asked for.
                is_open = queued is None or queued.operator != "=" or queued.is_glob
                if is_open or (queued is not None and asked.wanted.takes(queued.version, None)):
                    found[0 if asked.is_sure else 1].add(atom)
        return found
