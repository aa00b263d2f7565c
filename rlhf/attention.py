"""The one thing that needs a person, which the loop page says first; or that nothing does."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse

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
        text = "Runs and rounds wait until one is there. Start “manage.py serve” or “manage.py worker”."
        return Notice("Nothing moves: no worker is running", text, "warn", "warn")
    if round is None:
        return Notice("No round yet", "A round takes a policy through generating, labeling, training and judging.")
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
            title = f"One thing needs you: {run.name}. {concerns[0].title}"
            return Notice(title, concerns[0].text, "warn", "warn", "Review run", run.get_absolute_url())
    return Notice(f"Nothing needs you. {round.get_state_display()}", "The next step starts by itself.", "run", "loop")


def _problem(round: Round, role: str) -> Notice:
    bad = round.runs.filter(state__in=[Run.State.FAILED, Run.State.LOST, Run.State.CANCELLED]).first()
    retry = reverse("rlhf:retry_round", args=[round.project.slug, round.number]) if role in TRAINS else ""
    return Notice(
        f"One thing needs you: round {round.number} has stopped",
        round.problem,
        "bad",
        "warn",
        f"Open {bad.name}" if bad else "",
        bad.get_absolute_url() if bad else "",
        "Try that step again" if retry else "",
        retry,
    )


def _people(round: Round, role: str) -> Notice:
    labels = round.state == Round.State.LABEL
    done = rounds.progress(round)[round.state]
    left, noun = max(done["wanted"] - done["done"], 0), "judgments" if labels else "comparisons"
    text = f"{compact(done['done'])} of {compact(done['wanted'])} are there. The round goes on by itself with the last."
    link, href, button, action = "", "", "", ""
    if role in JUDGES:
        link, href = "Judge the next", reverse("annotation:work", args=[round.project.slug])
    if role in TRAINS and done["done"]:
        button = f"Go on with {compact(done['done'])}"
        action = reverse("rlhf:continue_round", args=[round.project.slug, round.number])
    if not left:
        return Notice(f"Nothing needs you. All {noun} are in", "The next step starts in a moment.", "run", "loop")
    title = f"One thing needs people: {compact(left)} {noun}"
    return Notice(title, text, "warn", "label", link, href, button, action)


def _decision(round: Round, role: str) -> Notice:
    best, passed = best_policy(round), rounds.best(round)
    if best is None:
        return Notice("One thing needs you: decide about the round", "", "warn", "promote", "Decide", "#decision")
    name, preferred = best
    words = f"{percent(preferred['value'], 1)} prefer {name} to {round.base_model.name}, {interval_words(preferred)}."
    gate = f" {passed} meets every condition." if passed else " No policy meets every condition of the gate."
    link = "Decide" if role in TRAINS else ""
    tone, icon = ("ok", "check") if passed else ("warn", "warn")
    title = f"One thing needs you: decide about round {round.number}"
    return Notice(title, words + gate, tone, icon, link, "#decision")


def _ended(round: Round, role: str) -> Notice:
    reason = round.decision.get("reason") or ""
    link, href = "", ""
    if role in TRAINS:
        link, href = f"Start round {round.number + 1}", reverse("rlhf:new_round", args=[round.project.slug])
    if round.state == Round.State.PROMOTED and round.promoted_model:
        title = f"{round} is done: {round.promoted_model.name} is the promoted policy"
        return Notice(title, reason, "ok", "check", link, href)
    return Notice(f"{round} is done: no policy was promoted", reason, "", "x", link, href)
