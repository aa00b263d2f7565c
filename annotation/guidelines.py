"""Guidelines that changed since somebody read them: what is different, and that they have seen it."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.safestring import SafeString

from annotation import rendering
from annotation.models import Annotation, GuidelineReading, GuidelineVersion, Project, User


@dataclass(frozen=True)
class News:
    """The guidelines as they are now, against the version last read."""

    read: int
    now: GuidelineVersion
    changes: SafeString


def news(project: Project, user: User, now: GuidelineVersion | None) -> News | None:
    """What changed since the version that `user` read last; None when nothing did, or when they are new here.

    Who has judged but never said that they read a version has read the one that they judged under.
    """
    if now is None or now.number == 1:
        return None
    read = last_read(project, user)
    if read is None or read >= now.number:
        return None
    before = project.guideline_versions.filter(number=read).values_list("text", flat=True).first()
    return News(read, now, rendering.changes(before or "", now.text))


def last_read(project: Project, user: User) -> int | None:
    """The number of the version that the person read last."""
    said = GuidelineReading.objects.filter(project=project, user=user).values_list("number", flat=True).first()
    if said is not None:
        return said
    own = Annotation.objects.filter(project=project, annotator=user, guideline__is_imported=False)
    return own.order_by("-created_at").values_list("guideline__number", flat=True).first()


def acknowledge(project: Project, user: User, number: int) -> None:
    """Note that the person has read this version; an older one than they have read changes nothing."""
    if not project.guideline_versions.filter(number=number).exists():
        return
    reading, made = GuidelineReading.objects.get_or_create(project=project, user=user, defaults={"number": number})
    if not made:
        GuidelineReading.objects.filter(pk=reading.pk, number__lt=number).update(number=number)
