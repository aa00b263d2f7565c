"""What a lead sees of each member's standing, and what they can do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext, gettext_noop

from annotation import freezing, gold, qualifying, requeueing
from annotation.models import Membership, Project
from annotation.standing import is_qualifying

State = Membership.State
LABELS = {
    "pause": gettext_noop("Pause"),
    "resume": gettext_noop("Let go on"),
    "requeue": gettext_noop("Give their work since to others"),
    "requeue_all": gettext_noop("Give all their work to others"),
    "reset": gettext_noop("Let try again"),
    "admit": gettext_noop("Let start"),
}
ASIDE = gettext_noop("%(count)s judgments of %(name)s are set aside; others get those items.")


class UnknownAction(Exception):
    """There is no such action."""


@dataclass(frozen=True)
class MemberStanding:
    """One member's state in words, how they answer gold tasks, and the actions that make sense now."""

    words: str
    kind: str  # of the pill: ok | wait | bad
    gold_done: int
    gold_right: int
    actions: list[tuple[str, str]]

    @property
    def gold_share(self) -> float | None:
        return self.gold_right / self.gold_done if self.gold_done else None


def of(project: Project, member: Membership) -> MemberStanding:
    """What the people page says of a member."""
    recent = member.gold_recent
    if member.state == State.PAUSED:
        right = {"right": recent.count("1"), "count": len(recent)}
        words = gettext("Paused: %(right)s of the last %(count)s gold items right") % right
        words = words if recent else gettext("Paused")
        return _shown(member, words, "bad", ["resume", "requeue"])
    if member.state == State.FAILED and project.qualification_size:
        told = {"right": member.qualification_right, "done": member.qualification_done}
        words = gettext("Did not qualify: %(right)s of %(done)s right") % told
        return _shown(member, words, "bad", ["reset", "admit"])
    if is_qualifying(member.role, project.qualification_size, member.qualified_at):
        told = {"done": member.qualification_done, "size": project.qualification_size}
        words = gettext("Qualifying: %(done)s of %(size)s") % told
        return _shown(member, words, "wait", ["admit"])
    return _shown(member, gettext("Active"), "ok", ["pause", "requeue_all"])


def paused(project: Project) -> list[Membership]:
    """Who waits for a decision of whoever leads the project."""
    return list(project.memberships.filter(state=State.PAUSED).select_related("user").order_by("paused_at"))


def act(member: Membership, action: str) -> str:
    """Do `action` to the member; the sentence says what happened. UnknownAction for any other word."""
    if action not in ACTIONS:
        text = gettext("There is no action called %(action)s; use %(actions)s.")
        raise UnknownAction(text % {"action": action or gettext("nothing"), "actions": ", ".join(ACTIONS)})
    return ACTIONS[action](member)


def _shown(member: Membership, words: str, kind: str, actions: list[str]) -> MemberStanding:
    named = [(action, gettext(LABELS[action])) for action in actions]
    return MemberStanding(words, kind, member.gold_done, member.gold_right, named)


def _pause(member: Membership) -> str:
    gold.pause(member)
    return gettext("%(name)s is paused and gets no new items.") % {"name": member.user.label}


def _resume(member: Membership) -> str:
    gold.resume(member)
    return gettext("%(name)s may go on; their gold answers are counted anew.") % {"name": member.user.label}


def _requeue(member: Membership) -> str:
    return _set_aside(member, requeueing.unreliable_since(member))


def _requeue_all(member: Membership) -> str:
    return _set_aside(member, None)


def _set_aside(member: Membership, since: datetime | None) -> str:
    own = requeueing.own_work(member.project, member.user, since=since)
    held = Counter(freezing.holders(own.only("project_id", "created_at")).values())
    count = requeueing.set_aside(member.project, member.user, since=since)
    told = [gettext(ASIDE) % {"count": count, "name": member.user.label}]
    told += [gettext("%(name)s was cut before and keeps %(count)s.") % {"name": n, "count": c} for n, c in held.items()]
    return " ".join(told)


def _reset(member: Membership) -> str:
    qualifying.reset(member)
    return gettext("%(name)s starts the qualification anew.") % {"name": member.user.label}


def _admit(member: Membership) -> str:
    qualifying.admit(member)
    return gettext("%(name)s may start.") % {"name": member.user.label}


ACTIONS: dict[str, Callable[[Membership], str]] = {
    "pause": _pause,
    "resume": _resume,
    "requeue": _requeue,
    "requeue_all": _requeue_all,
    "reset": _reset,
    "admit": _admit,
}
