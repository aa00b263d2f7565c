"""What changed between two versions of a project's guidelines."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from annotation import access, rendering
from annotation.models.people import SEES_NAMES
from annotation.shell import PersonRequest, signed_in


@require_GET
@signed_in
def guideline_changes(request: PersonRequest, slug: str, number: int) -> HttpResponse:
    """One version with its differences, word by word, from the one before it, or from the one named `against`."""
    project = access.project_for(request.user, slug, SEES_NAMES)
    versions = project.guideline_versions.filter(is_imported=False).order_by("-number")
    now = get_object_or_404(versions, number=number)
    against = request.GET.get("against", "")
    earlier = versions.filter(number__lt=number)
    if against.isdigit() and len(against) < 9:
        earlier = earlier.filter(number=int(against))
    before = earlier.first()
    context = {
        "project": project,
        "now": now,
        "before": before,
        "versions": list(versions.values_list("number", flat=True)),
        "changes": rendering.changes(before.text, now.text) if before else None,
    }
    return render(request, "annotation/guideline_changes.html", context)
