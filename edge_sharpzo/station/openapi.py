"""The OpenAPI file of the API, made from its endpoints and the shapes of their answers."""

import re
from typing import Any

import msgspec

from edge_sharpzo import __version__
from edge_sharpzo.station.calls import Endpoint
from edge_sharpzo.station.errors import ErrorAnswer
from edge_sharpzo.station.security import MARK

REF = "#/components/schemas/{name}"
CAUSES = {
    400: "not a request that is understood, or without the header X-Edge-Sharpzo",
    401: "no token, or a wrong one",
    404: "not there",
    409: "not possible now, or a step that would do nothing; the cause says what to do instead",
    413: "too much at once",
    415: "another kind of content",
    421: "another Host header than the station's",
    422: "a value that is none of the allowed",
    429: "too many wrong tokens",
    503: "not possible on this device now",
    507: "the disk is full",
}
ALWAYS = (400, 401, 421, 422, 429, 503)
TAKING = (413, 415)  # whatever takes a body
PATH_SHAPES = {"id": {"type": "string", "pattern": "^[0-9a-f]{16}$"}, "name": {"type": "string"}}


def openapi(endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    """The file's content."""
    shapes = [
        shape
        for each in endpoints
        for shape in (each.answer, each.body, each.query)
        if shape is not None and not isinstance(shape, str)
    ]
    unique = list(dict.fromkeys([*shapes, ErrorAnswer]))
    refs, schemas = msgspec.json.schema_components(unique, ref_template=REF)
    by_shape = dict(zip(unique, refs, strict=True))
    paths: dict[str, Any] = {}
    for each in endpoints:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, by_shape, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "edge-sharpzo station", "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(
    endpoint: Endpoint, by_shape: dict[Any, Any], schemas: dict[str, Any]
) -> dict[str, Any]:
    answer, takes = endpoint.answer, endpoint.body or endpoint.takes_files
    if isinstance(answer, str):
        content: dict[str, Any] = {answer: {}}
    else:
        content = {"application/json": {"schema": by_shape[answer]}}
    fails = {"application/json": {"schema": by_shape[ErrorAnswer]}}
    statuses = sorted({*ALWAYS, *endpoint.statuses, *(TAKING if takes else ())})
    made: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": re.sub(r"\W+", "_", f"{endpoint.method} {endpoint.path[5:]}").lower(),
        "parameters": _parameters(endpoint, by_shape, schemas),
        "responses": {"200": {"description": endpoint.summary, "content": content}}
        | {str(each): {"description": CAUSES[each], "content": fails} for each in statuses},
    }
    if endpoint.body:
        body = {"application/json": {"schema": by_shape[endpoint.body]}}
        made["requestBody"] = {"required": True, "content": body}
    if endpoint.takes_files:
        made["requestBody"] = {
            "required": True,
            "content": {"multipart/form-data": _form(endpoint)},
        }
    return made


def _form(endpoint: Endpoint) -> dict[str, Any]:
    field = endpoint.takes_files or ""
    file = {"type": "string", "format": "binary"}
    several = field.endswith("s")
    shape = {"type": "array", "items": file, "minItems": 1} if several else file
    return {"schema": {"type": "object", "properties": {field: shape}, "required": [field]}}


def _parameters(
    endpoint: Endpoint, by_shape: dict[Any, Any], schemas: dict[str, Any]
) -> list[dict[str, Any]]:
    made = [
        {"name": name, "in": "path", "required": True, "schema": PATH_SHAPES[name]}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]
    if endpoint.query:
        shape = schemas[by_shape[endpoint.query]["$ref"].rsplit("/", 1)[1]]
        required = shape.get("required", [])
        made += [
            {"name": name, "in": "query", "required": name in required, "schema": _plain(schema)}
            for name, schema in shape["properties"].items()
        ]
    if endpoint.method == "POST":
        mark = {"type": "string", "const": "1"}
        made.append({"name": MARK, "in": "header", "required": True, "schema": mark})
    return made


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema: one that may be left out is not null."""
    if "anyOf" not in schema:
        return schema
    (only,) = (each for each in schema["anyOf"] if each != {"type": "null"})
    return dict(only)
