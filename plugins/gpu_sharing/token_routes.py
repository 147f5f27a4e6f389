"""Install tokens, and the one personal access token that the document knows."""

from typing import Any

from appliance.plugin import (
    PERSON,
    Call,
    Forbidden,
    Kind,
    NotFound,
    Role,
    Surface,
    insert_credential,
    mint_credential,
    revoke_credential,
)

from . import life, store
from .callers import owner_of
from .install import install_command
from .state import SharingState
from .wire.answers import GenerateTokenResponse, InstalledAgent, PatInfo, PatResponse, Success, TokenStatusResponse
from .wire.render import token_state
from .wire.requests import CreatePatRequest, GenerateTokenRequest
from .wire.times import iso, iso_of

DAY_US = 86_400_000_000
PAT_LABEL = "gpu sharing"


def declare(api: Surface) -> None:
    """Declare the endpoints on the documented surface."""
    api.post(
        "/api/v1/tokens/generate",
        caller=PERSON,
        role=Role.USER,
        body=GenerateTokenRequest,
        answer=GenerateTokenResponse,
        status=201,
    )(generate)
    api.get("/api/v1/tokens/{token_id}/status", caller=PERSON, answer=TokenStatusResponse)(status)
    api.get("/api/v1/tokens/pat", caller=PERSON, answer=PatInfo)(pat)
    api.post(
        "/api/v1/tokens/pat", caller=PERSON, role=Role.USER, body=CreatePatRequest, answer=PatResponse, status=201
    )(create_pat)
    api.delete("/api/v1/tokens/pat", caller=PERSON, role=Role.USER, answer=Success)(delete_pat)


async def generate(call: Call[GenerateTokenRequest]) -> GenerateTokenResponse:
    """Make a token with which one agent can be installed within half an hour."""
    return await install_token(call.state, owner_of(call, call.state.core, call.state.book))


async def install_token(state: SharingState, owner: str) -> GenerateTokenResponse:
    """Make an install token of a person."""
    core, now = state.core, state.core.now()
    minted = mint_credential(Kind.INSTALL, now_unix_us=now, subject=owner)
    one = minted.credential
    expires = one.expires_unix_us or now + life.INSTALL_SECONDS * life.US

    def write(connection: Any) -> None:
        insert_credential(connection, minted)
        store.put_install(connection, token_id=one.credential_id, owner=owner, expires_unix_us=expires)

    await core.database.write(write, on_commit=lambda _: core.credentials.remember(minted))
    return GenerateTokenResponse(
        token_id=one.credential_id,
        token=minted.secret,
        expires_at=iso_of(expires),
        install_command=install_command(state, minted.secret),
    )


async def status(call: Call[None]) -> TokenStatusResponse:
    """Tell what became of an install token."""
    state: SharingState = call.state
    token_id, owner = call.path["token_id"], owner_of(call, state.core, state.book)
    found = state.core.database.read_now(lambda connection: store.install(connection, token_id))
    if found is None or found[0] != owner:
        raise NotFound("token", token_id[:64])
    _, expires, used, agent_id = found
    agent = next((each for each in state.book.agents(owner) if each.agent_id == agent_id), None)
    return token_state(
        token_id,
        expires_unix_us=expires,
        used_unix_us=used,
        now_unix_us=state.core.now(),
        agent=None
        if agent is None
        else InstalledAgent(agent_id=agent.agent_id, hostname=agent.hostname, status=state.status(agent).value),
    )


async def pat(call: Call[None]) -> PatInfo:
    """Tell whether there is a personal access token, never what it is."""
    state: SharingState = call.state
    owner = _person(call)
    credential_id = state.core.database.read_now(lambda connection: store.pat(connection, owner))
    credential = None if credential_id is None else state.core.credentials.live(credential_id)
    if credential is None:
        return PatInfo(exists=False)
    return PatInfo(
        exists=True,
        expires_at=iso(credential.expires_unix_us),
        last_used_at=iso(credential.last_used_unix_us),
        created_at=iso_of(credential.created_unix_us),
    )


async def create_pat(call: Call[CreatePatRequest]) -> PatResponse:
    """Make the personal access token anew; tokens that were made by command stay as they are."""
    state: SharingState = call.state
    core, owner, days = state.core, _person(call), call.body.expires_in_days
    if call.caller.kind is Kind.PAT and call.caller.scopes:
        raise Forbidden("a token with scopes makes no token", hint="log in, or use one without")
    now = core.now()
    expires = None if days is None else now + days * DAY_US
    if call.caller.kind is Kind.PAT and (mine := core.credentials.live(call.caller.credential_id)) is not None:
        # As with every token: none makes one that outlives it.
        ends = mine.expires_unix_us
        if ends is not None and (expires is None or expires > ends):
            raise Forbidden("a token makes none that lives longer than itself", hint="log in, or ask for fewer days")
    minted = mint_credential(Kind.PAT, now_unix_us=now, subject=owner, label=PAT_LABEL, expires_unix_us=expires)

    def write(connection: Any) -> list[str]:
        before = store.pat(connection, owner)
        ended = [before] if before and revoke_credential(connection, before, now_unix_us=now) else []
        insert_credential(connection, minted)
        store.put_pat(connection, owner, minted.credential.credential_id)
        return ended

    def follow(ended: list[str]) -> None:
        core.credentials.forget(ended)
        core.credentials.remember(minted)

    await core.database.write(write, on_commit=follow)
    return PatResponse(token=minted.secret, expires_at=iso(expires), created_at=iso_of(now))


async def delete_pat(call: Call[None]) -> Success:
    """End the personal access token; one that is not there has ended."""
    state: SharingState = call.state
    core, owner = state.core, _person(call)

    def write(connection: Any) -> list[str]:
        before = store.pat(connection, owner)
        store.delete_pat(connection, owner)
        return [before] if before and revoke_credential(connection, before, now_unix_us=core.now()) else []

    await core.database.write(write, on_commit=core.credentials.forget)
    return Success()


def _person(call: Call[Any]) -> str:
    if call.caller.kind not in (Kind.SESSION, Kind.PAT):
        raise Forbidden("only a person has a personal access token", hint="log in, or use a token of one")
    return call.caller.subject
