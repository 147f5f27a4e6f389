"""Which endpoint a request is for: one table per listener, made once from every surface it serves."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from appliance.errors import Busy, MethodNotAllowed, PathNotFound
from appliance.http.paths import NotAPath, pattern_of, rest_of, segments_of
from appliance.surface import STREAMED, Answer, BoundSurface, Call, Endpoint, Mount, Surface

if TYPE_CHECKING:
    from appliance.http.site import Site

WEBSOCKET = "WEBSOCKET"
"""The method under which WebSockets are claimed, so that a page may share their path."""


class ClaimConflict(Exception):
    """Two surfaces claim one method and path of one listener; the start is refused."""


@frozen(kw_only=True)
class Route:
    """One endpoint as it is served: with its surface's state and the names in its path."""

    endpoint: Endpoint
    bound: BoundSurface
    names: tuple[str, ...] = ()
    mount: Mount | None = None
    in_process: bool = True
    """Answered inside the connection; ``False`` goes through ASGI, where a client that goes away is noticed."""


@define(eq=False)
class Claims:
    """All that is claimed on one path."""

    methods: dict[str, Route] = field(factory=dict)
    cors: bool = False
    tolerant: bool = True
    """Reached also with extra trailing slashes (``slash="strip"``)."""

    @property
    def allowed(self) -> tuple[str, ...]:
        """The methods of ``Allow``, sorted."""
        names = {name for name in self.methods if name != WEBSOCKET}
        if "GET" in names:
            names.add("HEAD")
        if names:
            names.add("OPTIONS")
        return tuple(sorted(names))


@define(eq=False)
class _Node:
    literal: "dict[str, _Node]" = field(factory=dict)
    name: "_Node | None" = None
    here: Claims | None = None
    rest: Claims | None = None


@define(eq=False)
class Match:
    """What a path turned out to be; ``route`` is ``None`` where only ``surface`` is known (404, 405, OPTIONS)."""

    route: Route | None
    surface: Surface | None
    values: dict[str, str]
    failure: Exception | None = None
    claims: Claims | None = None


NO_VALUES: dict[str, str] = {}
HOT_PATHS = 4096


@define(eq=False)
class Table:
    """The routes of one listener."""

    _root: _Node = field(factory=_Node)
    _exact: dict[tuple[str, bytes], Match] = field(factory=dict)
    _hot: dict[tuple[str, bytes], Match] = field(factory=dict)
    """What paths of hot endpoints turned out to be; the clients that call them often call few."""
    _prefixes: list[tuple[str, Surface]] = field(factory=list)
    site: "Site | None" = None
    """Answers GETs of what nobody has declared."""
    routes: list[Route] = field(factory=list)

    @classmethod
    def build(cls, surfaces: Iterable[BoundSurface], unavailable: Iterable[tuple[Surface, str]] = ()) -> "Table":
        """Make the table; raises `ClaimConflict` naming both claimants of one method and path."""
        table = cls()
        for bound in surfaces:
            table._add_surface(bound)
        for surface, reason in unavailable:
            table._add_unavailable(surface, reason)
        table._prefixes.sort(key=lambda item: -len(item[0]))
        return table

    def match(self, method: str, path: bytes, *, websocket: bool = False) -> Match:
        """Find who answers ``method`` on an undecoded ``path``; never raises."""
        found = (self._exact.get((method, path)) or self._hot.get((method, path))) if not websocket else None
        if found is not None:
            return found
        try:
            parts = segments_of(path)
            claims, values = self._find(parts)
        except NotAPath as failure:
            return Match(None, self._owner(path.decode("latin-1")), NO_VALUES, failure)
        if claims is None:
            owner = self._owner("/" + "/".join(parts))
            if method == "OPTIONS" and owner is not None and owner.cors_headers:
                return Match(None, owner, NO_VALUES)
            if self.site is not None and method in {"GET", "HEAD"} and not websocket:
                found = self.site.match(parts, owned=owner is not None)
            return found or Match(None, owner, NO_VALUES, PathNotFound())
        wanted = WEBSOCKET if websocket else method
        route = claims.methods.get(wanted)
        if route is None and method == "HEAD":
            route = claims.methods.get("GET")
        if route is None:
            return self._not_answered(claims, wanted)
        named = dict(zip(route.names, values, strict=True)) if values else NO_VALUES
        match = Match(route, route.bound.surface, named, claims=claims)
        if route.endpoint.hot and not websocket:
            if len(self._hot) >= HOT_PATHS:
                self._hot.clear()
            self._hot[method, path] = match
        return match

    def _not_answered(self, claims: Claims, method: str) -> Match:
        surface = next(iter(claims.methods.values())).bound.surface
        if method == "OPTIONS" and surface.cors_headers:
            return Match(None, surface, NO_VALUES, None, claims)
        if not claims.allowed or method == WEBSOCKET:
            return Match(None, surface, NO_VALUES, PathNotFound(), claims)
        failure = None if method == "OPTIONS" else MethodNotAllowed(claims.allowed)
        return Match(None, surface, NO_VALUES, failure, claims)

    def _find(self, parts: Sequence[str]) -> tuple[Claims | None, list[str]]:
        found = _descend(self._root, parts, 0, [])
        if found is not None:
            return found
        if len(parts) > 1 and not parts[-1]:
            kept = len(parts)
            while kept > 1 and not parts[kept - 1]:
                kept -= 1
            found = _descend(self._root, parts[:kept], 0, [])
            if found is not None and found[0].tolerant:
                return found
        return None, []

    def _owner(self, path: str) -> Surface | None:
        for prefix, surface in self._prefixes:
            if path == prefix or path.startswith(prefix if prefix.endswith("/") else prefix + "/"):
                return surface
        return None

    def _add_surface(self, bound: BoundSurface) -> None:
        surface = bound.surface
        self._prefixes.extend((prefix, surface) for prefix in surface.prefixes)
        for endpoint in surface.endpoints:
            steps = pattern_of(endpoint.path)
            names = tuple(text for kind, text in steps if kind != "literal")
            streams = endpoint.kind != "http" or endpoint.waits or endpoint.body is STREAMED
            self._add(Route(endpoint=endpoint, bound=bound, names=names, in_process=not streams), steps)
        for mount in surface.mounts:
            self._add_mount(bound, mount)

    def _add_mount(self, bound: BoundSurface, mount: Mount) -> None:
        from appliance.http.files import serve_folder

        surface = mount.prefix.rstrip("/")
        is_folder = hasattr(mount.target, "joinpath")
        for method in ("GET",) if is_folder else ("GET", "POST", "PUT", "PATCH", "DELETE"):
            for path in (f"{surface}/{{path:path}}", *(() if is_folder or not surface else (surface,))):
                endpoint = Endpoint(
                    surface=mount.surface,
                    kind="http",
                    method=method,
                    path=path,
                    handler=serve_folder(mount.target) if is_folder else _never,
                    caller=mount.caller,
                    role=mount.role,
                    access=mount.access,
                    summary="Static files." if is_folder else "Pages.",
                )
                steps = pattern_of(path)
                names = tuple(text for kind, text in steps if kind != "literal")
                self._add(
                    Route(endpoint=endpoint, bound=bound, names=names, mount=mount, in_process=is_folder),
                    steps,
                )

    def _add_unavailable(self, surface: Surface, reason: str) -> None:
        self._prefixes.extend((prefix, surface) for prefix in surface.prefixes)

        async def not_running(call: Call[Any]) -> Answer:
            raise Busy(reason, hint="appliance plugins list shows why")

        bound = BoundSurface(surface=surface, state=None)
        claimed = [(endpoint.method, endpoint.path) for endpoint in surface.endpoints]
        claimed += [(method, f"{prefix.rstrip('/')}/{{path:path}}") for prefix in surface.prefixes for method in ALL]
        claimed += [(method, prefix.rstrip("/") or "/") for prefix in surface.prefixes for method in ALL]
        for method, path in dict.fromkeys(claimed):
            steps = pattern_of(path)
            endpoint = Endpoint(
                surface=surface.name, kind="http", method=method, path=path, handler=not_running, access="public"
            )
            names = tuple(text for kind, text in steps if kind != "literal")
            self._add(Route(endpoint=endpoint, bound=bound, names=names), steps, replace=False)

    def _add(self, route: Route, steps: tuple[tuple[str, str], ...], *, replace: bool = True) -> None:
        surface = route.bound.surface
        method = WEBSOCKET if route.endpoint.kind == "websocket" else route.endpoint.method
        variants = [steps]
        last = steps[-1]
        if surface.slash == "strip" and len(steps) > 1 and last == ("literal", ""):
            variants = [steps[:-1]]
        elif surface.slash == "both" and last[0] != "rest" and len(steps) >= 1 and steps != (("literal", ""),):
            other = steps[:-1] if last == ("literal", "") else (*steps, ("literal", ""))
            variants = [steps, other]
        for variant in variants:
            claims = self._claims_at(variant)
            taken = claims.methods.get(method)
            if taken is not None:
                if not replace:
                    continue
                raise ClaimConflict(
                    f"{method} {route.endpoint.path} is claimed twice on one listener: by surface "
                    f"{taken.endpoint.surface} ({taken.endpoint.path}) and by surface {route.endpoint.surface}"
                )
            claims.methods[method] = route
            claims.cors = claims.cors or surface.cors
            claims.tolerant = claims.tolerant and surface.slash == "strip"
            if all(kind == "literal" for kind, _ in variant) and method != WEBSOCKET:
                self._remember(method, "/" + "/".join(text for _, text in variant), route, claims)
        self.routes.append(route)

    def _remember(self, method: str, path: str, route: Route, claims: Claims) -> None:
        match = Match(route, route.bound.surface, NO_VALUES, claims=claims)
        try:
            raw = path.encode("ascii")
        except UnicodeEncodeError:
            return
        self._exact[method, raw] = match
        if method == "GET":
            self._exact.setdefault(("HEAD", raw), match)
        elif method == "HEAD":
            self._exact[method, raw] = match

    def _claims_at(self, steps: tuple[tuple[str, str], ...]) -> Claims:
        node = self._root
        for kind, text in steps:
            if kind == "rest":
                if node.rest is None:
                    node.rest = Claims()
                return node.rest
            if kind == "name":
                if node.name is None:
                    node.name = _Node()
                node = node.name
            else:
                node = node.literal.setdefault(text, _Node())
        if node.here is None:
            node.here = Claims()
        return node.here


ALL = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _descend(node: _Node, parts: Sequence[str], index: int, values: list[str]) -> tuple[Claims, list[str]] | None:
    """Depth first, literal before name before rest; at most `MAX_SEGMENTS` deep."""
    if index == len(parts):
        return (node.here, values) if node.here is not None else None
    part = parts[index]
    child = node.literal.get(part)
    if child is not None:
        found = _descend(child, parts, index + 1, values)
        if found is not None:
            return found
    if node.name is not None and part and "/" not in part:
        found = _descend(node.name, parts, index + 1, [*values, part])
        if found is not None:
            return found
    if node.rest is not None:
        return node.rest, [*values, rest_of(parts[index:])]
    return None


async def _never(call: Call[Any]) -> None:
    raise AssertionError("a blueprint is served by its own application")
