"""The OpenAPI 3.1 document of a listener, made from its declared endpoints; models need no second description."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import msgspec
from attrs import validators

import appliance
from appliance.http.body import is_list
from appliance.http.paths import pattern_of
from appliance.http.routing import Route
from appliance.surface import Endpoint, File, Raw, Redirect, Stream

ERRORS = {
    "400": "The request is not understood, or breaks a rule of the endpoint.",
    "401": "No credential, or one that is wrong, expired or revoked.",
    "403": "The caller may not do this.",
    "404": "What is named does not exist, or is not the caller's to see.",
    "405": "The path answers other methods only.",
    "413": "The body is over the endpoint's limit.",
    "429": "Too many requests; Retry-After says when to come back.",
    "500": "A failure of the appliance; the log has it under the request's id.",
    "503": "Not now: a part is starting, restarting or stopping.",
}
# The classes are private to attrs; their instances are not.
_OPTIONAL: Any = type(validators.optional(validators.ge(0)))
_EACH: Any = type(validators.deep_iterable(validators.ge(0)))
_REFERENCE = "#/components/schemas/{name}"


def document(routes: Iterable[Route], *, server_url: str = "/") -> dict[str, Any]:
    """Return the document; WebSockets are described as GETs that answer 101."""
    served = [route for route in routes if route.mount is None]
    models = sorted({kind for route in served for kind in _models(route.endpoint)}, key=_key)
    references, components = _schemas(models)
    paths: dict[str, dict[str, Any]] = {}
    names: set[str] = set()
    for route in served:
        operation = _operation(route, references, names)
        path = re.sub(r"\{(\w+):path\}", r"{\1}", route.endpoint.path)
        paths.setdefault(path, {}).setdefault(route.endpoint.method.lower(), operation)
    surfaces = sorted({route.endpoint.surface for route in served})
    components["Problem"] = _PROBLEM
    return {
        "openapi": "3.1.0",
        "info": {"title": "appliance", "version": appliance.__version__},
        "servers": [{"url": server_url}],
        "tags": [{"name": name} for name in surfaces],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(components.items())), "securitySchemes": _SECURITY},
    }


_PROBLEM = {
    "type": "object",
    "description": "What went wrong. A surface may use its own shape; its documents say which.",
    "properties": {
        "error": {"type": "string"},
        "message": {"type": "string"},
        "hint": {"type": "string", "description": "What to do next."},
        "field": {"type": "string", "description": "The wrong input as a path, such as $.gpus[0].vram_mb."},
    },
}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "session": {"type": "apiKey", "in": "cookie", "name": "appliance_session"},
}


def _key(kind: Any) -> str:
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', repr(kind))}"


def _models(endpoint: Endpoint) -> Iterator[Any]:
    for kind in (endpoint.body, endpoint.answer):
        if isinstance(kind, type) and kind not in {File, Redirect, Stream} and _is_model(kind):
            yield kind


def _is_model(kind: type[Any]) -> bool:
    """Whether a class describes itself; those of measured hot paths are msgspec's own, and say their bounds too."""
    return attrs.has(kind) or issubclass(kind, msgspec.Struct)


def _schemas(models: list[Any]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """Return each model's reference and all components, with what validators add."""
    try:
        references, components = msgspec.json.schema_components(
            models, ref_template=_REFERENCE, schema_hook=lambda kind: {}
        )
    except TypeError:
        # One model that JSON Schema cannot say must not cost the others their description.
        kept, references, components = [], (), {}
        for model in models:
            with contextlib.suppress(TypeError):
                msgspec.json.schema_components([model], schema_hook=lambda kind: {})
                kept.append(model)
        references, components = msgspec.json.schema_components(
            kept, ref_template=_REFERENCE, schema_hook=lambda kind: {}
        )
        models = kept
    found = dict(zip(models, references, strict=True))
    for model in _nested(models):
        name = _component_of(model, components)
        if name is not None:
            _constrain(model, components[name])
    return found, dict(components)


def _nested(models: Iterable[Any]) -> list[Any]:
    """Return every attrs class that the models are made of, themselves included."""
    seen: list[Any] = []
    structs: set[Any] = set()
    waiting = list(models)
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and attrs.has(kind):
            if kind not in seen:
                seen.append(kind)
                attrs.resolve_types(kind)
                waiting += [one.type for one in attrs.fields(kind)]
        elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if kind not in structs:
                structs.add(kind)
                waiting += [one.type for one in msgspec.structs.fields(kind)]
        else:
            waiting += list(getattr(kind, "__args__", ()))
    return seen


def _component_of(model: Any, components: dict[str, Any]) -> str | None:
    qualified = f"{model.__module__}.{model.__qualname__}"
    for name in (model.__name__, qualified, re.sub(r"[^A-Za-z0-9_.-]", "_", qualified)):
        if name in components:
            return str(name)
    return None


def _constrain(model: Any, schema: dict[str, Any]) -> None:
    for one in attrs.fields(model):
        described = schema.get("properties", {}).get(one.alias)
        if described is None:
            continue
        for validator in _flat(one.validator):
            _apply(validator, _typed_part(described))


def _typed_part(described: dict[str, Any]) -> dict[str, Any]:
    """Return the part of ``X or null`` that a constraint is about."""
    for option in described.get("anyOf", ()):
        if option.get("type") != "null":
            found: dict[str, Any] = option
            return found
    return described


def _flat(validator: Any) -> Iterator[Any]:
    if validator is None:
        return
    inner = getattr(validator, "_validators", None)
    if inner is not None:  # and_
        for one in inner:
            yield from _flat(one)
    elif type(validator) is _OPTIONAL:
        yield from _flat(validator.validator)
    else:
        yield validator


_BOUNDS = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum"}


def _apply(validator: Any, described: dict[str, Any]) -> None:
    if hasattr(validator, "compare_op"):
        described[_BOUNDS[validator.compare_op]] = validator.bound
    elif hasattr(validator, "max_length"):
        described["maxItems" if described.get("type") == "array" else "maxLength"] = validator.max_length
    elif hasattr(validator, "min_length"):
        described["minItems" if described.get("type") == "array" else "minLength"] = validator.min_length
    elif hasattr(validator, "options"):
        described["enum"] = list(validator.options)
    elif hasattr(validator, "pattern"):
        described["pattern"] = f"^(?:{validator.pattern.pattern})$"
    elif type(validator) is _EACH and described.get("type") == "array":
        for one in _flat(validator.member_validator):
            _apply(one, described.setdefault("items", {}))


# ---------------------------------------------------------------- operations


def _operation(route: Route, references: dict[Any, dict[str, Any]], names: set[str]) -> dict[str, Any]:
    endpoint = route.endpoint
    operation: dict[str, Any] = {
        "operationId": _operation_id(endpoint, names),
        "tags": [endpoint.surface],
        "summary": endpoint.summary or endpoint.path,
        "responses": {**_success(endpoint, references), **_failures(endpoint)},
    }
    description = (endpoint.handler.__doc__ or "").strip()
    if description and description != operation["summary"]:
        operation["description"] = re.sub(r"\n[ \t]+", "\n", description)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for kind, name in pattern_of(endpoint.path)
        if kind != "literal"
    ]
    parameters += _query_parameters(endpoint)
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None and endpoint.method != "GET":
        operation["requestBody"] = _request_body(endpoint, references)
    operation["security"] = _security(endpoint)
    return operation


def _operation_id(endpoint: Endpoint, names: set[str]) -> str:
    base = re.sub(r"[^A-Za-z0-9]+", "_", f"{endpoint.surface}_{endpoint.method.lower()}_{endpoint.path}").strip("_")
    name, number = base, 2
    while name in names:
        name, number = f"{base}_{number}", number + 1
    names.add(name)
    return name


def _security(endpoint: Endpoint) -> list[dict[str, Any]]:
    """Say who gets in; ``{}`` means that a credential is not always asked for."""
    needed: list[dict[str, Any]] = [{"bearer": []}, {"session": []}]
    return needed if endpoint.access == "keyed" else [{}, *needed]


def _request_body(endpoint: Endpoint, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    if isinstance(endpoint.body, Raw):
        return {"required": True, "content": {"application/octet-stream": {}}}
    schema = references.get(endpoint.body, {})
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _success(endpoint: Endpoint, references: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    if endpoint.kind == "websocket":
        return {"101": {"description": "A WebSocket."}}
    if endpoint.kind == "stream":
        return {"200": {"description": "Server-sent events.", "content": {"text/event-stream": {}}}}
    described: dict[str, Any] = {"description": "Done."}
    if endpoint.answer in (File, Stream):
        described["content"] = {"application/octet-stream": {}}
    elif endpoint.answer in references:
        described["content"] = {"application/json": {"schema": references[endpoint.answer]}}
    elif endpoint.answer is not None and endpoint.answer is not Redirect:
        described["content"] = {"application/json": {"schema": {}}}
    return {str(endpoint.status): described}


def _failures(endpoint: Endpoint) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    wanted = {"400", "500", "503"}
    if endpoint.access != "public":
        wanted |= {"401", "403"}
    if "{" in endpoint.path:
        wanted.add("404")
    if endpoint.body is not None:
        wanted.add("413")
    if endpoint.access == "public":
        wanted.add("429")
    return {status: {"description": ERRORS[status], "content": content} for status in sorted(wanted)}


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    attrs.resolve_types(endpoint.query)
    _, components = msgspec.json.schema_components([endpoint.query], schema_hook=lambda kind: {})
    described: dict[str, Any] = next(
        (one for one in components.values() if set(one.get("properties", {})) == _aliases(endpoint.query)), {}
    )
    _constrain(endpoint.query, described)
    found = []
    for one in attrs.fields(endpoint.query):
        parameter: dict[str, Any] = {
            "name": one.alias,
            "in": "query",
            "required": one.default is attrs.NOTHING,
            "schema": described.get("properties", {}).get(one.alias, {"type": "string"}),
        }
        if one.metadata.get("help"):
            parameter["description"] = one.metadata["help"]
        if is_list(one.type):
            parameter["explode"] = True
        found.append(parameter)
    return found


def _aliases(model: Any) -> set[str]:
    return {one.alias for one in attrs.fields(model)}
