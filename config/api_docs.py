"""The API's documentation page, and what every operation of the schema has in common."""

from __future__ import annotations

from typing import Any

from drf_spectacular.views import SpectacularSwaggerSplitView

PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `title` is one sentence for a person; `errors` has sentences by field for bad input.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
    },
    "required": ["type", "title", "status"],
}


class ApiDocs(SpectacularSwaggerSplitView):
    """Swagger's page without its inline style; the script comes from an address of its own."""

    template_name = "api_docs.html"


def add_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Gives every operation its error answer; a schema hook of drf-spectacular."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    shape = {"schema": {"$ref": "#/components/schemas/Problem"}}
    answer = {"description": "An error", "content": {"application/problem+json": shape}}
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"]["default"] = answer
    return result
