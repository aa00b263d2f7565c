"""The API's documentation page, and what every operation of the schema has in common."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

from config import operations

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


@require_safe
def api_docs(request: HttpRequest) -> HttpResponse:
    """Every operation of the API, for a person to read; open to all, as the schema is."""
    told = _operations(get_language() or "")
    return render(request, "api_docs.html", {"operations": told, "server": request.build_absolute_uri("/")[:-1]})


@cache
def _operations(language: str) -> SafeString:
    """The page's body. It is the same for everyone who reads `language`, so each process makes it once."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    subjects = operations.subjects(schema)
    context = {
        "subjects": subjects,
        "count": sum(len(subject.operations) for subject in subjects),
        "problem": operations.Reader(schema).problem(),
        "problem_help": PROBLEM["description"],
    }
    return render_to_string("_operations.html", context)


def add_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Gives every operation its error answer; a schema hook of drf-spectacular."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    shape = {"schema": {"$ref": "#/components/schemas/Problem"}}
    answer = {"description": "An error", "content": {"application/problem+json": shape}}
    for methods in result["paths"].values():
        for operation in methods.values():
            operation["responses"]["default"] = answer
    return result
