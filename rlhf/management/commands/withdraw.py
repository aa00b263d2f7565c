"""`manage.py withdraw`: take a person's or a prompt's judgements out of everything cut from now on."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation.cleaning import CleaningError
from annotation.models import User
from rlhf import withdrawing
from rlhf.arguments import find_project, with_example


class Command(BaseCommand):
    help = "Withdraws judgements for good and lists the snapshots affected and the models to train again."

    def add_arguments(self, parser: CommandParser) -> None:
        with_example(
            parser,
            'withdraw support --annotator ada --reason "Took her consent back." --dry-run',
            'withdraw support --task 812 --reason "The prompt names a person." --yes',
        )
        parser.add_argument("project")
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--annotator", metavar="NAME")
        whose.add_argument("--task", type=int, metavar="ID", help="one that has the prompt; its near-duplicates go too")
        parser.add_argument("--reason", required=True)
        parser.add_argument("--by", metavar="NAME", help="who decided it")
        parser.add_argument("--dry-run", action="store_true", help="tell what it would reach, and change nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask again")

    def handle(self, *, project: str, annotator: str, task: int, reason: str, by: str, **options: Any) -> None:
        where = find_project(project)
        whose: dict[str, Any] = {}
        if annotator is not None:
            whose["annotator"] = User.objects.filter(username=annotator).first()
        else:
            whose["task"] = where.tasks.filter(pk=task).first()
        if None in whose.values():
            raise CommandError(f"There is no {'account ' + annotator if annotator else f'task {task}'} here.")
        decided = User.objects.filter(username=by).first() if by else None
        if by and decided is None:
            raise CommandError(f"There is no account {by}.")
        try:
            self._tell(withdrawing.effects(where, **whose))
            if options["dry_run"]:
                return
            if not options["yes"] and input("Withdraw them for good? Type yes: ").strip() != "yes":
                raise CommandError("Nothing was withdrawn.")
            withdrawing.withdraw(where, by=decided, reason=reason, **whose)
        except (withdrawing.WithdrawalError, CleaningError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write("Withdrawn.")

    def _tell(self, reach: dict[str, Any]) -> None:
        self.stdout.write(f"{reach['judgements']:,} judgements")
        for snapshot in reach["snapshots"]:
            self.stdout.write(f"  in {snapshot['name']}: {snapshot['judgements']:,}")
        for model in reach["models"]:
            self.stdout.write(f"  train again: {model['name']}")
        for run in reach["runs"]:
            self.stdout.write(f"  under way with them: {run['name']}")
