"""Core's own surfaces: every module of ``appliance.http.api`` that declares endpoints."""

import importlib
import pkgutil

import appliance.http.api
from appliance.surface import Surface


def core_surfaces() -> list[Surface]:
    """Return the ``api`` of each module that has one, in the order of their names."""
    found = []
    for child in pkgutil.iter_modules(appliance.http.api.__path__):
        api = getattr(importlib.import_module(f"appliance.http.api.{child.name}"), "api", None)
        if isinstance(api, Surface):
            found.append(api)
    return found
