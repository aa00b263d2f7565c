"""`manage.py round`: start a turn of the loop, look at it, and decide it."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation.models import Project
from rlhf import following, plans, rounds
from rlhf.arguments import AppendPairs, find_model, find_project, prompts_from, refuse, with_example
from rlhf.figures_text import policy_table
from rlhf.models import Round
from rlhf.registry import RegistryError
from training.runfile import RunFileError, with_overrides


class Command(BaseCommand):
    help = "Starts a round (--start), or goes on with the last one until it waits for people, is stuck or has ended."

    def add_arguments(self, parser: CommandParser) -> None:
        with_example(
            parser,
            "round helpfulness --start sft-1 --base desk-base --prompts prompts.jsonl --set prompts=300 overlap=2",
            "round helpfulness",
            'round helpfulness --promote ppo-r1 --reason "Reads better, and the gate is met."',
        )
        parser.add_argument("project")
        parser.add_argument("--start", metavar="MODEL", help="begin a round: the policy to improve")
        parser.add_argument("--base", metavar="MODEL", help="what people compare with; by default as last time")
        parser.add_argument("--prompts", metavar="FILE", help="JSONL; by default the prompts of the project's tasks")
        parser.add_argument("--eval-prompts", metavar="FILE", help="JSONL; by default those nobody labels")
        parser.add_argument("--plan", metavar="FILE", help="a JSON file (docs/loop.md lists the keys)")
        parser.add_argument("--set", dest="changes", action=AppendPairs, nargs="+", default=[], metavar="KEY=VALUE")
        parser.add_argument("--no-wait", dest="wait", action="store_false", help="leave it to the worker")
        parser.add_argument("--finish-step", action="store_true", help="go on with the judgements there are")
        parser.add_argument("--retry", action="store_true", help="make failed runs anew, --set changing the plan")
        parser.add_argument("--promote", metavar="MODEL")
        parser.add_argument("--reject", action="store_true")
        parser.add_argument("--abandon", action="store_true", help="end it before its decision; needs --reason")
        parser.add_argument("--reason", default="")

    def handle(self, *, project: str, wait: bool, **options: Any) -> None:
        where = find_project(project)
        try:
            round = self._start(where, options) if options["start"] else self._act(where, options)
        except (rounds.RoundError, plans.PlanError, RunFileError, RegistryError) as error:
            raise refuse(error) from error
        if wait and not round.is_ended:
            try:
                round = following.follow_round(round, self.stdout)  # type: ignore[arg-type]
            except KeyboardInterrupt:
                raise CommandError(f"No longer watching; {round} goes on while a worker runs.") from None
        self._show(round)

    def _start(self, project: Project, options: dict[str, Any]) -> Round:
        data = _read_plan(options["plan"]) if options["plan"] else {}
        round = rounds.start_round(
            project,
            plans.from_dict(with_overrides(rounds.usual_plan(project) | data, options["changes"])),
            start_model=find_model(options["start"]),
            base_model=find_model(options["base"]) if options["base"] else None,
            prompts_to_label=prompts_from(options["prompts"], None),
            eval_prompts=prompts_from(options["eval_prompts"], None),
        )
        self.stdout.write(f"{round} of {project.slug} has started.")
        if warning := round.plan.get("warning"):
            self.stderr.write(warning)
        return round

    def _act(self, project: Project, options: dict[str, Any]) -> Round:
        round = project.rounds.order_by("-number").first()
        if round is None:
            raise rounds.RoundError(f"{project.slug} has no round yet: start one with --start MODEL.")
        if options["promote"]:
            return rounds.promote(round, find_model(options["promote"]), by=None, reason=options["reason"])
        if options["reject"]:
            return rounds.reject(round, by=None, reason=options["reason"])
        if options["abandon"]:
            return rounds.abandon(round, by=None, reason=options["reason"])
        if options["retry"]:
            return rounds.retry(round, with_overrides({}, options["changes"]))
        return rounds.finish_step(round) if options["finish_step"] else round

    def _show(self, round: Round) -> None:
        if round.problem:
            raise CommandError(f"{round} cannot go on: {round.problem}")
        if round.state in (Round.State.LABEL, Round.State.COMPARE):
            counts = rounds.progress(round)[round.state]
            self.stdout.write(f"{round} waits for people: {counts['done']} of {counts['wanted']} judgements stand.")
        for line in policy_table(round.runs.filter(part="evaluate").first(), round.evaluation.get("policies") or {}):
            self.stdout.write(line)
        if round.state == Round.State.DECIDE:
            for name, conditions in rounds.gate(round).items():
                met = all(each["met"] for each in conditions)
                self.stdout.write(
                    f"{name}: gate {'met' if met else 'not met'}. Decide with --promote MODEL or --reject."
                )


def _read_plan(path: str) -> dict[str, Any]:
    try:
        data = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"The plan {path} cannot be read: {error}.") from error
    if not isinstance(data, dict):
        raise CommandError(f"The plan {path} must hold one JSON object.")
    return data
