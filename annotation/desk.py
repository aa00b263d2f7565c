"""What a reviewer sees of one task: the item as annotators see it, everyone's verdict on it, and all that happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from annotation import bodies, gold, presenting, rendering, reviewing, rulings, screen, verdicts, wording
from annotation.models import Adjudication, Annotation, Assignment, Kind, QualityReport, Task, User
from annotation.questions import Questions, questions_of

Decision, Status = Adjudication.Decision, Annotation.Status


@dataclass(frozen=True)
class Verdict:
    """One person's standing verdict, in the reviewer's order of the sides."""

    annotation: Annotation
    words: str
    side: str  # "a", "b" or "": the color
    step: int | str | None  # of the beam, or "both_bad"
    html: SafeString | None = None  # a written answer
    details: Sequence[tuple[str, str]] = ()  # see wording.details

    @property
    def name(self) -> str:
        return self.annotation.annotator.label

    @property
    def ratings(self) -> dict[str, Any]:
        return self.annotation.body.get("ratings") or {}


@dataclass(frozen=True)
class Event:
    """One thing that happened to the task."""

    when: datetime
    words: str
    detail: str = ""
    changes: SafeString | None = None


@dataclass
class Desk:
    """The adjudication page of one task."""

    task: Task
    item: screen.Item
    verdicts: list[Verdict]
    spread: int
    middle: tuple[str, str] | None  # the median in words, if there is one
    apart: Verdict | None  # who is farthest from the others: the one that a return is offered for first
    ruling: tuple[Adjudication, tuple[str, str]] | None
    seen: str
    may_decide: bool
    may_make_gold: bool
    waiting: list[str] = field(default_factory=list)  # names of those who look again
    versions: list[int] = field(default_factory=list)  # of our guidelines that the verdicts were made under
    known: list[tuple[str, str]] = field(default_factory=list)
    trail: list[Event] = field(default_factory=list)

    @property
    def beam(self) -> list[dict[str, Any]]:
        """The verdicts on each of the seven steps."""
        return [{**step, "votes": [v for v in self.verdicts if v.step == step["value"]]} for step in self.item.steps]

    @property
    def neither(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.step == "both_bad"]

    @property
    def aspects(self) -> list[dict[str, Any]]:
        """Each aspect of a rating with what everybody gave it."""
        return [
            {**aspect, "given": [(v.name, v.ratings.get(aspect["name"])) for v in self.verdicts]}
            for aspect in self.item.aspects
        ]

    @property
    def unit(self) -> str:
        return gettext(verdicts.UNITS[Kind(self.item.kind)])


def of(task: Task, user: User) -> Desk:
    """Everything on the adjudication page of `task` for `user`."""
    project, seen = task.project, reviewing.seen(task)
    ids = reviewing.order_of(task)
    votes = reviewing.votes_on(task)
    given = [vote.body for vote in votes]
    middle = reviewing.middle_of(task, votes)
    ruling = rulings.standing([task.pk]).get(task.pk)
    start = ruling.body if ruling else middle
    if start is None and project.kind == Kind.DEMONSTRATION and votes:
        start = votes[0].body
    questions = questions_of(project)
    shown = [_verdict(project.kind, vote, ids, questions) for vote in votes]
    apart = 0 if len(votes) == 1 else verdicts.farthest(project.kind, given, ids)
    back = Assignment.objects.filter(task=task, state=Assignment.State.LEASED).exclude(returned="")
    return Desk(
        task=task,
        item=_item(task, user, ids, bodies.as_shown(project.kind, start, ids) if start else None),
        verdicts=shown,
        spread=verdicts.spread(project.kind, given, ids),
        middle=wording.in_words(project.kind, middle, ids) if middle else None,
        apart=shown[apart] if apart is not None else None,
        ruling=(ruling, wording.in_words(project.kind, ruling.body, ids)) if ruling else None,
        seen=seen,
        may_decide=reviewing.may_decide(task, user),
        may_make_gold=gold.comparable(project.kind) and not task.is_gold,
        waiting=[held.annotator.label for held in back.select_related("annotator")],
        versions=_versions([vote for vote in votes if vote.guideline and not vote.guideline.is_imported]),
        known=_known(task, votes, ids),
        trail=_trail(task, ids),
    )


def _item(task: Task, user: User, ids: list[int], draft: dict[str, Any] | None) -> screen.Item:
    """The task as the judging page would show it, in the reviewer's order."""
    now = timezone.now()
    held = Assignment(task=task, project=task.project, annotator=user, shown=ids, draft=draft, lease_until=now)
    return screen.item(presenting.leased_task(held))


def _verdict(kind: str, vote: Annotation, ids: list[int], questions: Questions) -> Verdict:
    words, side = wording.in_words(kind, vote.body, ids)
    step: int | str | None = None
    if kind == Kind.PREFERENCE:
        step = verdicts.step(vote.body, ids) or "both_bad"
    html = rendering.render_markdown(str(vote.body.get("text", ""))) if kind == Kind.DEMONSTRATION else None
    return Verdict(vote, words, side, step, html, wording.details(vote.body, ids, questions))


def _known(task: Task, votes: list[Annotation], ids: list[int]) -> list[tuple[str, str]]:
    rows = []
    ordered = [vote for vote in votes if vote.shown]
    if len(ids) == 2 and ordered:
        first = sum(vote.shown[0] == ids[0] for vote in ordered)
        told = {"first": first, "number": len(ordered)}
        rows.append((gettext("Response A was shown first"), gettext("%(first)s of %(number)s times") % told))
    versions, without = _versions(votes), any(vote.guideline is None for vote in votes)
    if versions:
        named = ", ".join([*([gettext("none")] if without else []), *map(str, versions)])
        same = len(versions) == 1 and not without
        text = gettext("yes, version %(named)s") if same else gettext("no: %(named)s")
        rows.append((gettext("Same guidelines"), text % {"named": named}))
    rows += _alphas(task, votes)
    rows += _expected(task, ids)
    flags = sorted({flag for vote in votes for flag in vote.body.get("flags") or []})
    rows += [(gettext("Flagged"), ", ".join(flags))] if flags else []
    if task.external_id:
        rows.append((gettext("Id"), task.external_id))
    rows += [(str(key), str(value)[:80]) for key, value in list(task.metadata.items())[:6]]
    return rows


def _expected(task: Task, ids: list[int]) -> list[tuple[str, str]]:
    """The known answer of a gold item, and the reason that people are told."""
    if not task.is_gold or not task.expected:
        return []
    expected, kind = task.expected, task.project.kind
    told = [f"{what}: {words}" for what, words in wording.details(expected, ids, questions_of(task.project))]
    if expected.keys() & {"choice", "ratings", "ranking"}:
        told.insert(0, wording.in_words(kind, {"strength": 2} | expected, ids)[0])  # plainly, where none was named
    why = str(expected.get("rationale") or "")
    return [(gettext("Known answer"), "; ".join(told)), *([(gettext("Its reason"), why)] if why else [])]


def _versions(votes: list[Annotation]) -> list[int]:
    return sorted({vote.guideline.number for vote in votes if vote.guideline})


def _alphas(task: Task, votes: list[Annotation]) -> list[tuple[str, str]]:
    """Each voter's agreement with the others, as the project's report last had it."""
    kept = QualityReport.objects.filter(project=task.project_id, key="").first()
    known = {row["annotator"]: row.get("alpha") for row in kept.data.get("annotators", [])} if kept else {}
    told = [
        f"{vote.annotator.label}\u00a0{alpha['value']:.2f}" for vote in votes if (alpha := known.get(vote.annotator_id))
    ]
    return [(gettext("α with the others"), ", ".join(told))] if told else []


def _trail(task: Task, ids: Sequence[int]) -> list[Event]:
    """What happened to the task, newest first."""
    events = _judged(task, ids)
    skipped = Assignment.objects.filter(task=task, state=Assignment.State.SKIPPED).select_related("annotator")
    events += [
        Event(one.leased_at, gettext("%(annotator)s skipped it") % {"annotator": one.annotator.label}, one.skip_reason)
        for one in skipped
    ]
    for made in task.adjudications.select_related("reviewer", "annotation__annotator").order_by("pk"):
        events.append(Event(made.created_at, _decided(made, task.project.kind, ids), made.comment))
    return sorted(events, key=lambda event: event.when, reverse=True)


def _judged(task: Task, ids: Sequence[int]) -> list[Event]:
    events: list[Event] = []
    before: dict[int, Annotation] = {}
    for one in task.annotations.select_related("annotator", "guideline").order_by("pk"):
        words, _ = wording.in_words(one.kind, one.body, ids)
        earlier, changes = before.get(one.annotator_id), None
        told = gettext("%(annotator)s judged: %(words)s") % {"annotator": one.annotator.label, "words": words}
        if earlier is not None:
            old, _ = wording.in_words(one.kind, earlier.body, ids)
            told = gettext("%(annotator)s changed %(old)s to %(words)s") % {
                "annotator": one.annotator.label,
                "old": old,
                "words": words,
            }
            if one.body == earlier.body:
                told = gettext("%(annotator)s kept %(words)s after a second look") % {
                    "annotator": one.annotator.label,
                    "words": words,
                }
            elif one.kind == Kind.DEMONSTRATION:
                changes = rendering.changes(str(earlier.body.get("text", "")), str(one.body.get("text", "")))
        if one.status in (Status.UNDONE, Status.SET_ASIDE):
            told += f" ({gettext(one.get_status_display()).lower()})"
        detail = gettext("guidelines %(number)s") % {"number": one.guideline.number} if one.guideline else ""
        events.append(Event(one.created_at, told, detail, changes))
        before[one.annotator_id] = one
    return events


def _decided(made: Adjudication, kind: str, ids: Sequence[int]) -> str:
    who = made.reviewer.label
    if made.decision == Decision.RETURN:
        assert made.annotation is not None
        return gettext("%(who)s sent it back to %(annotator)s") % {
            "who": who,
            "annotator": made.annotation.annotator.label,
        }
    if made.decision == Decision.WITHDRAW:
        return gettext("%(who)s took the decision back") % {"who": who}
    words, _ = wording.in_words(kind, made.body or {}, ids)
    text = gettext("%(who)s overruled: %(words)s")
    if made.decision == Decision.ACCEPT:
        text = gettext("%(who)s accepted: %(words)s")
    told = text % {"who": who, "words": words}
    return gettext("%(told)s, and made it a gold item") % {"told": told} if made.makes_gold else told


def told(desk: Desk) -> dict[str, Any]:
    """The same as data, for programs."""
    shown = presenting.leased_task(
        Assignment(
            task=desk.task,
            project=desk.task.project,
            shown=reviewing.order_of(desk.task),
            lease_until=timezone.now(),
        )
    )
    return {
        "task": {name: shown[name] for name in ("id", "kind", "prompt", "responses", "questions")},
        "verdicts": [
            {
                "annotation_id": one.annotation.pk,
                "annotator": one.annotation.annotator.username,
                "revision": one.annotation.revision,
                "created_at": one.annotation.created_at,
                "seconds": one.annotation.seconds,
                "guideline_version": one.annotation.guideline.number if one.annotation.guideline else None,
                "words": one.words,
                "body": one.annotation.body,
            }
            for one in desk.verdicts
        ],
        "spread": desk.spread,
        "middle": desk.middle[0] if desk.middle else None,
        "ruling": desk.ruling[0].pk if desk.ruling else None,
        "may_decide": desk.may_decide,
        "seen": desk.seen,
        "history": [{"when": one.when, "words": one.words, "detail": one.detail} for one in desk.trail],
    }
