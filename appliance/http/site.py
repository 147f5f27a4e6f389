"""Another system's web front end, served from a folder in place of our own pages.

Its files come after every declared path. A path that nobody knows is answered with ``index.html`` where a browser
asks for a page, since such front ends route in the browser; where a surface owns the path, its 404 stays.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from appliance.credentials.kinds import ANONYMOUS, Caller
from appliance.errors import PathNotFound
from appliance.http.answers import weights
from appliance.http.files import content_type_of, file_below
from appliance.http.routing import Match, Route
from appliance.surface import Call, File, Head, Redirect, Surface

INDEX = "index.html"
_VARIES = (("vary", "accept"),)


class Site:
    """The files of one folder, for paths that no surface has declared."""

    def __init__(self, folder: Path) -> None:
        self._root = folder.resolve()
        surface = Surface("site", authenticate=_let_in)
        surface.get("/{path:path}", summary="A file of the site.", access="public")(self._file)
        surface.get("/{path:path}", summary="The site's only page.", access="public")(self._page)
        surface.get("/{path:path}", summary="A folder of the site.", access="public")(_with_slash)
        bound = surface.bind(None)
        self._to_file, self._to_page, self._to_folder = (
            Route(endpoint=endpoint, bound=bound, names=("path",)) for endpoint in surface.endpoints
        )

    def match(self, parts: Sequence[str], *, owned: bool) -> Match | None:
        """Return who answers a GET of the decoded segments ``parts``; ``None`` when the site does not.

        :param owned: whether the path lies below a prefix of a surface.
        """
        names = [*parts[:-1], parts[-1] or INDEX]
        if file_below(self._root, names) is not None:
            return _to(self._to_file, names)
        if parts[-1] and file_below(self._root, [*parts, INDEX]) is not None:
            return _to(self._to_folder, parts)
        return None if owned else _to(self._to_page, parts)

    async def _file(self, call: Call[Any]) -> File:
        path = file_below(self._root, call.path["path"].split("/"))
        if path is None:  # gone since it was looked up
            raise PathNotFound
        return File(path=path, content_type=content_type_of(path))

    async def _page(self, call: Call[Any]) -> File:
        path = file_below(self._root, [INDEX])
        if path is None or not weights(call.head.header(b"accept") or "").get("text/html", 0.0) > 0:
            raise PathNotFound
        return File(path=path, content_type=content_type_of(path), headers=_VARIES)


async def _with_slash(call: Call[Any]) -> Redirect:
    """Lead to the folder's page under the address at which its relative links hold."""
    name, query = quote(call.path["path"].rpartition("/")[2], safe=""), call.head.raw_query.decode("latin-1")
    return Redirect(location=f"./{name}/?{query}" if query else f"./{name}/")


def _let_in(head: Head, state: Any) -> Caller:
    """Let everybody load the page, at any rate: it is a folder of files that its own users share."""
    return ANONYMOUS


def _to(route: Route, parts: Sequence[str]) -> Match:
    # No surface: what fails here is answered as on any path that nobody owns.
    return Match(route, None, {"path": "/".join(parts)})
