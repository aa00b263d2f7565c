"""The one thing that needs a person, which the loop page says first; or that nothing does."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse
from django.utils.translation import gettext, ngettext

from annotation.models import Project
from annotation.models.people import JUDGES, TRAINS
from annotation.templatetags.hone import compact, percent
from rlhf import health, rounds, worker
from rlhf.models import Round, Run
from rlhf.stages import best_policy, interval_words
from training import rundir


@dataclass(frozen=True)
class Notice:
    """A note at the top of the page, with at most one link and one button that posts."""

    title: str
    text: str = ""
    tone: str = ""  # warn, bad, run, ok
    icon: str = "check"
    link: str = ""
    href: str = ""
    button: str = ""
    action: str = ""  # where the button posts


def notice_of(project: Project, round: Round | None, role: str) -> Notice:
    """What a person with `role` should know or do now, the most pressing first."""
    waiting = Run.objects.filter(project=project).exclude(state__in=Run.ENDED)
    moves = waiting.exists() or (round is not None and not round.is_ended)
    if moves and not worker.seen_lately():
        text = gettext("Runs and rounds wait until one is there. Start “manage.py serve” or “manage.py worker”.")
        return Notice(gettext("Nothing moves: no worker is running"), text, "warn", "warn")
    if round is None:
        return Notice(
            gettext("No round yet"),
            gettext("A round takes a policy through generating, labeling, training and judging."),
        )
    if round.problem:
        return _problem(round, role)
    if round.state in (Round.State.LABEL, Round.State.COMPARE):
        return _people(round, role)
    if round.state == Round.State.DECIDE:
        return _decision(round, role)
    if round.is_ended:
        return _ended(round, role)
    for run in waiting.filter(round=round):
        rows, report = rundir.read_metrics(run.folder), rundir.read_report(run.folder)
        if concerns := health.concerns_of(run.kind, rows, run.config, report):
            title = gettext("One thing needs you: %(run)s. %(concerns_title)s") % {
                "run": run.name,
                "concerns_title": concerns[0].title,
            }
            return Notice(title, concerns[0].text, "warn", "warn", gettext("Review run"), run.get_absolute_url())
    return Notice(
        gettext("Nothing needs you. %(state)s") % {"state": gettext(round.get_state_display())},
        gettext("The next step starts by itself."),
        "run",
        "loop",
    )


def _problem(round: Round, role: str) -> Notice:
    bad = round.runs.filter(state__in=[Run.State.FAILED, Run.State.LOST, Run.State.CANCELLED]).first()
    retry = reverse("rlhf:retry_round", args=[round.project.slug, round.number]) if role in TRAINS else ""
    return Notice(
        gettext("One thing needs you: round %(number)s has stopped") % {"number": round.number},
        round.problem,
        "bad",
        "warn",
        gettext("Open %(name)s") % {"name": bad.name} if bad else "",
        bad.get_absolute_url() if bad else "",
        gettext("Try that step again") if retry else "",
        retry,
    )


def _people(round: Round, role: str) -> Notice:
    labels = round.state == Round.State.LABEL
    done = rounds.progress(round)[round.state]
    left = max(done["wanted"] - done["done"], 0)
    text = gettext("%(done)s of %(wanted)s are there. The round goes on by itself with the last.") % {
        "done": compact(done["done"]),
        "wanted": compact(done["wanted"]),
    }
    link, href, button, action = "", "", "", ""
    if role in JUDGES:
        link, href = gettext("Judge the next"), reverse("annotation:work", args=[round.project.slug])
    if role in TRAINS and done["done"]:
        button = gettext("Go on with %(done)s") % {"done": compact(done["done"])}
        action = reverse("rlhf:continue_round", args=[round.project.slug, round.number])
    if not left:
        return Notice(
            gettext("Nothing needs you. All judgments are in")
            if labels
            else gettext("Nothing needs you. All comparisons are in"),
            gettext("The next step starts in a moment."),
            "run",
            "loop",
        )
    title = ngettext(
        "One thing needs people: %(left)s comparison", "One thing needs people: %(left)s comparisons", left
    )
    if labels:
        title = ngettext(
            "One thing needs people: %(left)s judgment", "One thing needs people: %(left)s judgments", left
        )
    title %= {"left": compact(left)}
    return Notice(title, text, "warn", "label", link, href, button, action)


def _decision(round: Round, role: str) -> Notice:
    best, passed = best_policy(round), rounds.best(round)
    if best is None:
        return Notice(
            gettext("One thing needs you: decide about the round"),
            "",
            "warn",
            "promote",
            gettext("Decide"),
            "#decision",
        )
    name, preferred = best
    words = gettext("%(value)s prefer %(name)s to %(base_model)s, %(preferred)s.") % {
        "value": percent(preferred["value"], 1),
        "name": name,
        "base_model": round.base_model.name,
        "preferred": interval_words(preferred),
    }
    gate = (
        gettext("%(passed)s meets every condition.") % {"passed": passed}
        if passed
        else gettext("No policy meets every condition of the gate.")
    )
    link = gettext("Decide") if role in TRAINS else ""
    tone, icon = ("ok", "check") if passed else ("warn", "warn")
    title = gettext("One thing needs you: decide about round %(number)s") % {"number": round.number}
    return Notice(title, f"{words} {gate}", tone, icon, link, "#decision")


def _ended(round: Round, role: str) -> Notice:
    reason = round.decision.get("reason") or ""
    link, href = "", ""
    if role in TRAINS and not round.project.rounds.filter(number__gt=round.number).exists():
        link, href = (
            gettext("Start round %(number)s") % {"number": round.number + 1},
            reverse("rlhf:new_round", args=[round.project.slug]),
        )
    if round.state == Round.State.PROMOTED and round.promoted_model:
        title = gettext("%(round)s is done: %(promoted_model)s is the promoted policy") % {
            "round": round,
            "promoted_model": round.promoted_model.name,
        }
        return Notice(title, reason, "ok", "check", link, href)
    title = gettext("%(round)s is done: no policy was promoted") % {"round": round}
    if round.state == Round.State.ABANDONED:
        title = gettext("%(round)s was abandoned: no policy was promoted") % {"round": round}
        kept = gettext("What it made is kept; its runs were stopped and its open items left the queue.")
        reason = f"{reason} {kept}"
    return Notice(title, reason, "", "x", link, href)
