"""What roles and scopes let a caller do: pure."""

import re
from collections.abc import Iterable

from appliance.credentials.kinds import Caller, Role
from appliance.errors import BadInput, Forbidden

WORDS = tuple(role.word for role in Role)
_SCOPE = re.compile(r"[a-z][a-z0-9_]{0,63}(:read)?", re.ASCII)
SCOPES_MAX = 32
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def parse_role(word: str, *, field: str = "$.role") -> Role:
    """Return the role written as ``word``; raises `BadInput` naming all of them."""
    try:
        return Role[word.upper()] if word in WORDS else _unknown(word, field)
    except KeyError:  # pragma: no cover - WORDS and Role are the same list
        return _unknown(word, field)


def parse_scopes(words: Iterable[str], *, field: str = "$.scopes") -> frozenset[str]:
    """Return PAT scopes ``surface[:read]``; raises `BadInput` for another form or too many."""
    scopes = frozenset(words)
    if len(scopes) > SCOPES_MAX:
        raise BadInput(f"at most {SCOPES_MAX} scopes", field=field)
    for scope in scopes:
        if not _SCOPE.fullmatch(scope):
            raise BadInput(f"{scope[:64]!r} is no scope", hint="write SURFACE or SURFACE:read", field=field)
    return scopes


def scopes_allow(scopes: frozenset[str], surface: str, *, writes: bool) -> bool:
    """Whether a token with these scopes reaches a surface; no scopes means the whole role."""
    return not scopes or surface in scopes or (not writes and f"{surface}:read" in scopes)


def require_role(caller: Caller, role: Role) -> None:
    """Raise `Forbidden`, naming the role needed, when a person (or who acts as one) has less than ``role``."""
    if not caller.may(role):
        has = f"you are {_article(caller.role)}" if caller.role is not None else "this credential has no role"
        raise Forbidden(f"this needs the role {role.word}; {has}", hint=f"ask an admin for the role {role.word}")


def require_scope(caller: Caller, surface: str, *, writes: bool) -> None:
    """Raise `Forbidden`, naming the scope needed, when a token's scopes leave out ``surface`` (or writing to it)."""
    if not scopes_allow(caller.scopes, surface, writes=writes):
        needed = surface if writes else f"{surface}:read"
        raise Forbidden(f"this token lacks the scope {needed}", hint=f"create a token with the scope {needed}")


def require_no_scopes(caller: Caller) -> None:
    """Raise `Forbidden` for a token with scopes: where tokens, people or passwords are made it would widen itself."""
    if caller.scopes:
        raise Forbidden("a token with scopes makes no tokens, people or links to log in", hint="log in to do that")


def _unknown(word: str, field: str) -> Role:
    raise BadInput(f"{word[:32]!r} is no role", hint=f"one of {', '.join(WORDS)}", field=field)


def _article(role: Role) -> str:
    return f"{'an' if role.word[0] in 'aeio' else 'a'} {role.word}"
