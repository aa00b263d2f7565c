"""Liveness and readiness, for whoever keeps Hone running."""

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from django.views.decorators.http import require_safe

from rlhf import worker


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """The database answers, its migrations are applied and a worker was seen lately; 503 names what is missing."""
    parts = {"database": _database(), "migrations": False, "worker": False}
    if parts["database"]:
        executor = MigrationExecutor(connection)
        parts["migrations"] = not executor.migration_plan(executor.loader.graph.leaf_nodes())
        parts["worker"] = parts["migrations"] and worker.seen_lately()
    ready = all(parts.values())
    return JsonResponse({"status": "ok" if ready else "unready", **parts}, status=200 if ready else 503)


def server_error(request: HttpRequest) -> HttpResponse:
    """A defect of ours: a problem for programs, a page for people."""
    from annotation.api import problems  # the framework behind it imports our parsers, which import it

    if request.path.startswith("/api/"):
        return problems.answer(500, "Something went wrong here; it was logged. Try again in a moment.")
    return defaults.server_error(request)


def _database() -> bool:
    try:
        connection.ensure_connection()
    except Exception:  # the border of the process: any failure to connect means the same to the caller
        return False
    return True
