"""Our own API of releases and of what is staged."""

from typing import Any, Final

from attrs import field, frozen
from attrs.validators import max_len

from appliance.plugin import Call, Role

from ..state import SwarmState
from ..surfaces import KEYED, READERS, own
from . import actions
from . import own_models as models

RELEASES: Final = "/api/appliance/swarm/releases"
ONE: Final = f"{RELEASES}/{{version}}"


@frozen(kw_only=True)
class DiffQuery:
    """Two releases."""

    before: str = field(validator=max_len(models.VERSION_CHARACTERS))
    after: str = field(validator=max_len(models.VERSION_CHARACTERS))


@own.get("/api/appliance/swarm/binhost", caller=READERS, access="open", answer=models.BinhostItem)
async def overview(call: Call[None]) -> models.BinhostItem:
    """Tell how much the binary host has, and how much room there is."""
    state: SwarmState = call.state
    return models.binhost_item(
        await state.binhost.figures(),
        bytes_max=state.settings.binhost_bytes_max,
        require_binary=state.settings.require_binary,
        problem=state.binhost.staging.problem,
    )


@own.get(
    "/api/appliance/swarm/staging", caller=READERS, access="open", query=models.PageQuery, answer=models.BinaryPage
)
async def staged(call: Call[None]) -> models.BinaryPage:
    """List what is staged, by path."""
    state: SwarmState = call.state
    wanted: models.PageQuery = call.query
    found = await state.binhost.store.staged_page(after=wanted.cursor, limit=wanted.limit + 1)
    return models.binary_page(found, wanted.limit)


@own.post(
    "/api/appliance/swarm/staging/import",
    caller=KEYED,
    role=Role.OPERATOR,
    body=models.ImportFolder,
    answer=models.ImportItem,
)
async def import_folder(call: Call[models.ImportFolder]) -> models.ImportItem:
    """Stage every binary package below a folder of this host."""
    done = await actions.imported(call, call.body.path)
    return models.ImportItem(
        taken_count=done.taken,
        known_count=done.known,
        skipped_count=done.skipped,
        skipped=tuple(done.reasons),
    )


@own.get(RELEASES, caller=READERS, access="open", answer=models.ReleasePage)
async def releases(call: Call[None]) -> models.ReleasePage:
    """List every release, newest first."""
    state: SwarmState = call.state
    return models.ReleasePage(items=tuple(map(models.release_item, await state.binhost.store.releases())))


@own.post(RELEASES, caller=KEYED, role=Role.OPERATOR, body=models.NewRelease, answer=models.ReleaseItem, status=201)
async def create(call: Call[models.NewRelease]) -> models.ReleaseItem:
    """Make a release of what is staged."""
    wanted = call.body
    return models.release_item(await actions.create(call, wanted.version, wanted.notes, promote=wanted.promote))


@own.get(f"{RELEASES}/diff", caller=READERS, access="open", query=DiffQuery, answer=models.DifferenceItem)
async def diff(call: Call[None]) -> models.DifferenceItem:
    """Say what sets one release apart from another."""
    state: SwarmState = call.state
    return models.difference_item(await state.binhost.releases.compare(call.query.before, call.query.after))


@own.post(f"{RELEASES}/rollback", caller=KEYED, role=Role.OPERATOR, body=models.Rollback, answer=models.ReleaseItem)
async def rollback(call: Call[models.Rollback]) -> models.ReleaseItem:
    """Go back to an earlier release, and return it."""
    _, after = await actions.rolled_back(call, call.body.version)
    return models.release_item(after)


@own.get(ONE, caller=READERS, access="open", answer=models.ReleaseItem)
async def release(call: Call[None]) -> models.ReleaseItem:
    """Return one release."""
    state: SwarmState = call.state
    return models.release_item(state.binhost.store.release(call.path["version"]))


@own.get(f"{ONE}/packages", caller=READERS, access="open", query=models.PageQuery, answer=models.BinaryPage)
async def packages(call: Call[None]) -> models.BinaryPage:
    """List what a release has, by path."""
    state: SwarmState = call.state
    wanted: models.PageQuery = call.query
    version = state.binhost.store.release(call.path["version"]).version
    found = await state.binhost.store.packages_page(version, after=wanted.cursor, limit=wanted.limit + 1)
    return models.binary_page(found, wanted.limit)


@own.post(f"{ONE}/promote", caller=KEYED, role=Role.OPERATOR, answer=models.ReleaseItem)
async def promote(call: Call[Any]) -> models.ReleaseItem:
    """Make a release the current one."""
    return models.release_item(await actions.promoted(call, call.path["version"]))


@own.post(f"{ONE}/archive", caller=KEYED, role=Role.OPERATOR, answer=models.ReleaseItem)
async def archive(call: Call[Any]) -> models.ReleaseItem:
    """Put a release aside: it is kept, and the first to go."""
    return models.release_item(await actions.archived(call, call.path["version"]))


@own.delete(ONE, caller=KEYED, role=Role.OPERATOR, answer=models.ReleaseItem)
async def delete(call: Call[Any]) -> models.ReleaseItem:
    """Delete a release that is not the current one."""
    return models.release_item(await actions.deleted(call, call.path["version"]))
