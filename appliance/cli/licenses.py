"""``appliance license``: judge licences offline, list and rotate the keys that sign them."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from appliance.cli.api import CommandFailed
from appliance.cli.format import NONE, table
from appliance.cli.options import global_options
from appliance.cli.people import when
from appliance.cli.session import Session

FILE_MAX_BYTES = 65_536
KEY_SET_PATH = "/.well-known/jwks.json"
VARIABLES = ("TF_LICENSE", "TF_LICENSE_SIGN")
_HINT = "JSON with plain and encrypted, the lines TF_LICENSE=... and TF_LICENSE_SIGN=..., or the two texts on two lines"


@click.group("license")
def license_group() -> None:
    """Verify licences offline, list and rotate the keys that sign them."""


@license_group.command("verify")
@click.argument("file", metavar="FILE|-")
@click.option("--jwks", metavar="FILE", help="The issuer's key set, as at /.well-known/jwks.json; else our own keys.")
@click.option("--agent", metavar="ID", help="The agent whose licence it must be.")
@click.option("--at", "at_unix_s", type=float, help="Judge as of this time, in Unix seconds, instead of now.")
@global_options
@click.pass_obj
def verify(session: Session, file: str, jwks: str | None, agent: str | None, at_unix_s: float | None) -> int:
    """Say whether a licence holds, and if not, why: exit status 0 or 1."""
    from appliance.clock import unix_now_us
    from appliance.licenses import LicenseRefused, token
    from appliance.licenses.jwks import read_key_set

    plain, encrypted = _read_pair(_read(file))
    body = _read(jwks, limit_bytes=262_144) if jwks is not None else session.get(KEY_SET_PATH).text.encode()
    keys = read_key_set(body)
    now_unix_ms = _milliseconds(at_unix_s) if at_unix_s is not None else unix_now_us() // 1000
    try:
        found = token.verify(plain, encrypted, keys, now_unix_ms=now_unix_ms, agent_id=agent)
    except LicenseRefused as refused:
        if session.as_json:
            click.echo(json.dumps({"ok": False, "reason": refused.reason, "problem": refused.message}))
            return 1
        raise CommandFailed(f"refused: {refused.message}") from refused
    claims = found.claims
    facts: dict[str, Any] = {
        "ok": True,
        "agent_id": claims.agent_id,
        "plan": claims.plan,
        "issued_unix_s": claims.issued_unix_ms / 1000,
        "expires_unix_s": claims.expires_unix_ms / 1000,
        "max_gpus": claims.max_gpus,
        "max_workers": claims.max_workers,
        "kid": found.kid,
    }
    if session.as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(
            f"the licence holds until {when(facts['expires_unix_s'])}: agent {claims.agent_id}, plan {claims.plan},"
            f" {claims.max_gpus} GPUs, {claims.max_workers} workers\n signed with {found.kid}"
        )
    return 0


@license_group.command("keys")
@global_options
@click.pass_obj
def keys(session: Session) -> None:
    """List the keys: next, active, retiring and gone."""
    reply = session.get("/api/appliance/licenses/keys")
    rows = [
        (
            one["kid"],
            one["state"],
            when(one["published_unix_s"]),
            when(one["activated_unix_s"] or one["takes_over_unix_s"]),
            when(one["retired_unix_s"]) if one["retired_unix_s"] else NONE,
            when(one["gone_unix_s"]) if one["gone_unix_s"] else NONE,
        )
        for one in reply.json["items"]
    ]
    session.show(reply, table(("KEY", "STATE", "PUBLISHED", "SIGNS FROM", "RETIRED", "GONE"), rows))


@license_group.command("rotate")
@click.option("--emergency", is_flag=True, help="Drop every key now, and with them every licence that is out.")
@global_options
@click.pass_obj
def rotate(session: Session, emergency: bool) -> None:
    """Let the next key sign, as soon as it has been published for 24 hours."""
    reply = session.post("/api/appliance/licenses/rotate", {"emergency": emergency})
    answer = reply.json
    if answer["revoked_kids"]:
        text = f"{len(answer['revoked_kids'])} keys are revoked, {answer['active_kid']} signs now"
    elif answer["rotated"]:
        text = f"{answer['active_kid']} signs now"
    else:
        text = (
            f"{answer['next_kid']} signs from {when(answer['takes_over_unix_s'])}: it must be published for 24 hours"
            " first; --emergency does not wait, and ends every licence that is out"
        )
    session.show(reply, text)


def _read(name: str, *, limit_bytes: int = FILE_MAX_BYTES) -> bytes:
    """Return a file, or standard input for ``-``."""
    try:
        if name == "-":
            content = sys.stdin.buffer.read(limit_bytes + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(limit_bytes + 1)
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > limit_bytes:
        raise CommandFailed(f"{name} has more than {limit_bytes} bytes")
    return content


def _read_pair(content: bytes) -> tuple[str, str]:
    """Return plain and encrypted from any of the ways in which they are handed around."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CommandFailed("this is no licence: it is not text", hint=_HINT) from error
    pair = _from_json(text) if text.lstrip().startswith("{") else _from_lines(text)
    if pair is None:
        raise CommandFailed("this is no licence: plain and encrypted are not in it", hint=_HINT)
    return pair


def _from_json(text: str) -> tuple[str, str] | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandFailed(f"this is no licence: it is not JSON ({error})", hint=_HINT) from error
    inner = document.get("license", document)  # as the GPU sharing API answers
    plain, encrypted = (inner.get(name) if isinstance(inner, dict) else None for name in ("plain", "encrypted"))
    return (plain, encrypted) if isinstance(plain, str) and isinstance(encrypted, str) else None


def _from_lines(text: str) -> tuple[str, str] | None:
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line]
    assigned = dict(line.partition("=")[::2] for line in lines)
    if all(name in assigned for name in VARIABLES):
        return assigned[VARIABLES[0]], assigned[VARIABLES[1]]
    return (lines[0], lines[1]) if len(lines) == 2 else None


def _milliseconds(unix_s: float) -> int:
    if not 0 <= unix_s < 2**43:
        raise click.BadParameter("seconds since 1970", param_hint="--at")
    return int(unix_s * 1000)
