"""Simulated people at work: they lease tasks and submit judgements through the functions a person's click reaches."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from annotation import judging, presenting, queue
from annotation.models import Assignment, Kind, Membership, Project, Role, User
from rlhf.demo.utility import Prompt


class Judge(Protocol):
    """Whoever prefers one of two answers: a rater with a hidden utility, or a stated rule."""

    @property
    def name(self) -> str: ...

    def prefer(self, prompt: Prompt, a: str, b: str, rng: random.Random) -> dict[str, Any]: ...


Worker = tuple[User, Any]
Answer = Callable[[Any, dict[str, Any], random.Random], dict[str, Any]]


class WrongKind(Exception):
    """Simulated people judge pairs; this project asks for something else."""


def join(project: Project, judges: Sequence[Judge]) -> list[Worker]:
    """Accounts for `judges`, marked as simulated, without a password, and annotators of `project`."""
    workers = []
    for judge in judges:
        person, created = User.objects.get_or_create(username=judge.name, defaults={"is_simulated": True})
        if created:
            person.set_unusable_password()
            person.save(update_fields=["password"])
        Membership.objects.get_or_create(user=person, project=project, defaults={"role": Role.ANNOTATOR})
        workers.append((person, judge))
    return workers


def judge_pairs(project: Project, workers: Sequence[Worker], *, seed: int = 0) -> Iterator[int]:
    """Judge until nothing is left for anyone, or the caller stops asking; yields the count after each judgement."""
    if project.kind != Kind.PREFERENCE:
        raise WrongKind(f"{project.slug} is a {project.kind} project; simulated people judge preference projects.")
    return _work(project, workers, _preference, seed)


def write_demonstrations(project: Project, workers: Sequence[Worker], *, seed: int = 0) -> Iterator[int]:
    """The same for a demonstration project: each judge must be able to `demonstrate(prompt, rng)`."""
    return _work(project, workers, _demonstration, seed)


def _work(project: Project, workers: Sequence[Worker], answer: Answer, seed: int) -> Iterator[int]:
    done, busy = 0, list(workers)
    while busy:
        for worker in list(busy):
            person, judge = worker
            assignment = queue.lease_next(project, person)
            if assignment is None:
                busy.remove(worker)
                continue
            rng = random.Random(f"{seed}/{judge.name}/{_identity(assignment)}")
            body = answer(judge, presenting.leased_task(assignment), rng)
            judging.submit(assignment.task, person, body)
            done += 1
            yield done


def _identity(assignment: Assignment) -> str:
    """What stays the same when the demo is repeated on an empty database; row numbers do not."""
    return f"{assignment.task.external_id or assignment.task_id}"


def _preference(judge: Judge, task: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    first, second = (response["text"] for response in task["responses"])
    return judge.prefer(task["prompt"], first, second, rng)


def _demonstration(judge: Any, task: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    return {"text": judge.demonstrate(task["prompt"], rng)}
