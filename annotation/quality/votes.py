"""A project's standing judgements as arrays: read a page of tasks at a time, a few bytes a vote, whatever the size."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from django.db.models import Q
from django.db.models.functions import Length
from django.utils.translation import gettext_noop
from numpy.typing import NDArray

from annotation.models import Annotation, Kind, Project, Response, Task
from annotation.questions import STEP_LABELS, questions_of, step_of

Array = NDArray[Any]

PAGE = 5000  # judgements read at a time
MOST_PAIRS = 6_000_000  # of ranked responses in memory; beyond, whole tasks are left out evenly
SIDES = (gettext_noop("The first response"), gettext_noop("About the same"), gettext_noop("The second response"))
NONE = -1  # a missing cell


@dataclass(frozen=True)
class Question:
    """One thing people answer: its categories in order, and which distances between them mean something."""

    name: str
    label: str
    scale: str  # nominal | ordinal | interval
    categories: tuple[str, ...]

    @property
    def values(self) -> Array:
        return np.arange(len(self.categories), dtype=np.float64)


@dataclass(frozen=True)
class Ballots:
    """Votes on one question, ordered by the thing judged.

    A thing is a task, or for a ranking one pair of its responses, or one turn where each turn is rated; `task` says
    whose it is, and tasks are what a bootstrap draws. `label` is a category or NONE. `sources` are the places in
    `Votes.sources` of the two responses, or twice that of the one that is rated.
    """

    question: Question
    thing: Array  # (N) of each vote
    person: Array  # (N) a place in Votes.people
    label: Array  # (N)
    task: Array  # (U) of each thing
    sources: Array  # (U, 2), NONE where unknown

    def only(self, kept: Array) -> Ballots:
        """The things that `kept` (U) selects, renumbered."""
        place = np.cumsum(kept) - 1
        votes = kept[self.thing]
        task = np.unique(self.task[kept], return_inverse=True)[1]
        return Ballots(
            self.question, place[self.thing[votes]], self.person[votes], self.label[votes], task, self.sources[kept]
        )

    def counts(self) -> Array:
        """(U, K) votes by category."""
        k, given = len(self.question.categories), self.label >= 0
        cells = self.thing[given].astype(np.int64) * k + self.label[given]
        return np.bincount(cells, minlength=len(self.task) * k).reshape(-1, k)


@dataclass
class Votes:
    """Everything the report is made of."""

    people: list[int]  # ids of annotators
    sources: list[str]
    tasks: Array  # (T) ids, ascending
    day: Array  # (T) of the last vote, as a proleptic ordinal
    task: Array  # (N) of each judgement
    person: Array  # (N)
    judged: Array  # (N) its day, as a proleptic ordinal
    seconds: Array  # (N), NaN where unknown
    first: Array  # (N) 1 when the preferred response was shown first, 0 when second, NONE otherwise
    longer: Array  # (N) 1 when the preferred response is the longer one, 0 when the shorter
    ballots: list[Ballots] = field(default_factory=list)
    left_out: int = 0  # ranked tasks beyond MOST_PAIRS

    def days(self, ballots: Ballots) -> Array:
        """The day of each vote of `ballots` (N)."""
        size = len(self.people)
        keys = self.task.astype(np.int64) * size + self.person
        order = np.argsort(keys, kind="stable")
        wanted = ballots.task[ballots.thing].astype(np.int64) * size + ballots.person
        return np.asarray(self.judged[order[np.searchsorted(keys, wanted, sorter=order)]])


def questions(project: Project) -> list[Question]:
    """What the people of this project answer, the main question first."""
    asked = questions_of(project)
    flags = [Question(f"flag:{flag['name']}", flag["label"], "nominal", ("no", "yes")) for flag in asked["flags"]]
    if project.kind == Kind.DEMONSTRATION:
        return flags
    if project.kind == Kind.RANKING:
        return [Question("order", gettext_noop("Order of two responses"), "ordinal", SIDES), *flags]
    if project.kind == Kind.RATING:
        points = {aspect["name"]: range(1, int(aspect.get("points", 5)) + 1) for aspect in asked["aspects"]}
        return [
            Question(f"aspect:{aspect['name']}", aspect["label"], "interval", tuple(map(str, points[aspect["name"]])))
            for aspect in asked["aspects"]
        ] + flags
    steps = tuple(label.replace("A ", "First ").replace("B ", "Second ") for label in STEP_LABELS.values())
    aspects = [Question(f"aspect:{aspect['name']}", aspect["label"], "ordinal", SIDES) for aspect in asked["aspects"]]
    verdict = Question("verdict", gettext_noop("Verdict"), "ordinal", SIDES)
    return [
        verdict,
        Question("strength", gettext_noop("Verdict with its strength"), "ordinal", steps),
        *aspects,
        *flags,
    ]


def read(project: Project, *, purpose: str | None = None) -> Votes:
    """The standing judgements of the project; tasks with a known answer are chosen to be clear, so they stay out."""
    return _Reader(project, purpose).read()


class _Reader:
    def __init__(self, project: Project, purpose: str | None) -> None:
        self.project, self.purpose, self.kind = project, purpose, Kind(project.kind)
        self.questions = questions(project)
        self.people: dict[int, int] = {}
        self.sources: dict[str, int] = {}
        self.tasks, self.day, self.task = array("q"), array("i"), array("i")
        self.person, self.judged, self.seconds = array("i"), array("i"), array("f")
        self.first, self.longer = array("b"), array("b")
        self.labels = {question.name: array("b") for question in self.questions if question.name != "order"}
        self.task_sources = array("i")
        self.by_turn = self.kind == Kind.RATING and questions_of(project)["level"] == "turn"
        self.turns = {name: array("i") for name in ("thing", "person", "task", "sources")}
        self.whole = [  # how each vote on a whole task fills its column
            (column.append, READERS[name.partition(":")[0], self.kind], name.partition(":")[2])
            for name, column in self.labels.items()
            if not (self.by_turn and name.startswith("aspect:"))
        ]
        self.pairs = {name: array("i") for name in ("thing", "person", "task", "sources")} | {"label": array("b")}
        self.things = self.left_out = 0
        self.keep_every = 1

    def read(self) -> Votes:
        if self.kind == Kind.RANKING:
            self.keep_every = self._stride()
        for rows in _pages(self.project, self.purpose):
            self._take(rows)
        votes = Votes(
            list(self.people), list(self.sources), _array(self.tasks, "i8"), _array(self.day), _array(self.task),
            _array(self.person), _array(self.judged), _array(self.seconds, "f4"),
            _array(self.first, "i1"), _array(self.longer, "i1"),
        )  # fmt: skip
        sources = _array(self.task_sources).reshape(-1, 2)
        every = np.arange(len(votes.tasks))
        for question in self.questions:
            if question.name == "order":
                pairs = {name: _array(column, "i1" if name == "label" else "i4") for name, column in self.pairs.items()}
                pairs["sources"] = pairs["sources"].reshape(-1, 2)
                votes.ballots.append(Ballots(question, **pairs))
                continue
            label = _array(self.labels[question.name], "i1")
            if self.by_turn and question.name.startswith("aspect:"):
                thing, person, task, pair = (_array(column) for column in self.turns.values())
                votes.ballots.append(Ballots(question, thing, person, label, task, pair.reshape(-1, 2)))
            else:
                votes.ballots.append(Ballots(question, votes.task, votes.person, label, every, sources))
        votes.left_out = self.left_out
        return votes

    def _stride(self) -> int:
        """1 keeps every ranked task, 3 each third: as many as MOST_PAIRS allows."""
        judged = Annotation.objects.standing().filter(project=self.project)
        first = judged.order_by("task").values_list("task", flat=True).first()
        responses = Response.objects.filter(task=first).count()
        return 1 + judged.count() * responses * (responses - 1) // 2 // MOST_PAIRS

    def _take(self, rows: list[tuple[Any, ...]]) -> None:
        by_task: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for row in rows:
            by_task[row[0]].append(row)
        answers = _responses(list(by_task)) if self.kind != Kind.DEMONSTRATION else {}
        for task, votes in by_task.items():
            place = len(self.tasks)
            self.tasks.append(task)
            self.day.append(max(vote[5] for vote in votes).toordinal())
            given = answers.get(task, [])
            known = self._sources(given) if len(given) in (1, 2) else [NONE]
            self.task_sources.extend((known[0], known[-1]))
            ids, longest = [response for response, _, _ in given], _longest(given)
            for _, annotator, body, shown, seconds, day in votes:
                self.task.append(place)
                self.person.append(self.people.setdefault(annotator, len(self.people)))
                self.judged.append(day.toordinal())
                self.seconds.append(float("nan") if seconds is None else seconds)
                self._answer(body, shown, ids, longest)
            if self.kind == Kind.RANKING:
                self._rank(place, votes, given)
            elif self.by_turn:
                self._rate_turns(place, votes)

    def _answer(self, body: dict[str, Any], shown: list[int], ids: list[int], longest: int | None) -> None:
        choice = body.get("choice")
        decided = len(ids) == 2 and choice in ids
        self.first.append(int(choice == shown[0]) if decided and choice in shown else NONE)
        self.longer.append(int(choice == longest) if decided and longest is not None else NONE)
        for append, label_of, name in self.whole:
            append(label_of(body, name, ids))

    def _rank(self, place: int, votes: list[tuple[Any, ...]], given: list[tuple[int, str, int]]) -> None:
        if place % self.keep_every:
            self.left_out += 1
            return
        orders = [
            (self.people[annotator], {response: at for at, tied in enumerate(body["ranking"]) for response in tied})
            for _, annotator, body, *_ in votes
        ]
        for one, other in combinations(given, 2):
            self.pairs["task"].append(place)
            self.pairs["sources"].extend(self._sources([one, other]))
            for person, order in orders:
                if one[0] in order and other[0] in order:
                    lead = order[other[0]] - order[one[0]]
                    self.pairs["thing"].append(self.things)
                    self.pairs["person"].append(person)
                    self.pairs["label"].append(0 if lead > 0 else 2 if lead < 0 else 1)
            self.things += 1

    def _rate_turns(self, place: int, votes: list[tuple[Any, ...]]) -> None:
        """The response, then each earlier turn that somebody rated, with everybody's ratings of it side by side."""
        earlier = sorted({turn for vote in votes for turn in vote[2].get("turns") or {}}, key=int)
        for turn in (None, *earlier):
            for _, annotator, body, *_ in votes:
                rated = body if turn is None else {"ratings": (body.get("turns") or {}).get(turn)}
                self.turns["thing"].append(self.things)
                self.turns["person"].append(self.people[annotator])
                for name, column in self.labels.items():
                    if name.startswith("aspect:"):
                        column.append(_rated_aspect(rated, name.partition(":")[2], []))
            self.turns["task"].append(place)
            self.turns["sources"].extend(self.task_sources[-2:] if turn is None else (NONE, NONE))
            self.things += 1

    def _sources(self, given: list[tuple[int, str, int]]) -> list[int]:
        return [self.sources.setdefault(source, len(self.sources)) if source else NONE for _, source, _ in given]


def _longest(pair: list[tuple[int, str, int]]) -> int | None:
    """The longer response of two; None when both are as long."""
    if len(pair) != 2 or pair[0][2] == pair[1][2]:
        return None
    return max(pair, key=lambda response: response[2])[0]


def _side(choice: Any, ids: list[int]) -> int:
    """0 the first response in the order given, 2 the second, 1 neither: "both bad" prefers none."""
    if choice in ("tie", "both_bad"):
        return 1
    return 2 * ids.index(choice) if choice in ids else NONE


def _verdict(body: dict[str, Any], _: str, ids: list[int]) -> int:
    return _side(body.get("choice"), ids)


def _strength(body: dict[str, Any], _: str, ids: list[int]) -> int:
    side = _side(body.get("choice"), ids)
    return NONE if side == NONE else (step_of(("a", "tie", "b")[side], int(body.get("strength") or 0)) or 4) - 1


def _preferred_aspect(body: dict[str, Any], name: str, ids: list[int]) -> int:
    return _side((body.get("aspects") or {}).get(name), ids)


def _rated_aspect(body: dict[str, Any], name: str, _: list[int]) -> int:
    points = (body.get("ratings") or {}).get(name)
    return NONE if points is None else int(points) - 1


def _flag(body: dict[str, Any], name: str, _: list[int]) -> int:
    return int(name in body["flags"]) if "flags" in body else NONE


READERS: dict[tuple[str, Kind], Callable[[dict[str, Any], str, list[int]], int]] = {
    ("verdict", Kind.PREFERENCE): _verdict,
    ("strength", Kind.PREFERENCE): _strength,
    ("aspect", Kind.PREFERENCE): _preferred_aspect,
    ("aspect", Kind.RATING): _rated_aspect,
    **{("flag", kind): _flag for kind in Kind},
}


def _pages(project: Project, purpose: str | None) -> Iterator[list[tuple[Any, ...]]]:
    """Rows (task, annotator, body, shown, seconds, day) of whole tasks, by task: no read lasts longer than a page."""
    rows = Annotation.objects.standing().filter(project=project).order_by("task", "pk")
    columns = ("task_id", "annotator_id", "body", "shown", "seconds", "created_at")
    last, size = 0, PAGE
    while page := list(rows.filter(task__gt=last).values_list(*columns)[:size]):
        if len(page) == size and page[0][0] == page[-1][0]:  # one task alone fills the page
            size *= 2
            continue
        if len(page) == size:
            page = [row for row in page if row[0] != page[-1][0]]
        last, size = page[-1][0], PAGE
        left_out = Q(is_gold=True) if purpose is None else Q(is_gold=True) | ~Q(purpose=purpose)
        others = set(Task.objects.filter(left_out, pk__in={row[0] for row in page}).values_list("pk", flat=True))
        page = [row for row in page if row[0] not in others]
        if page:
            yield [(*row[:5], row[5].date()) for row in page]


def _responses(tasks: list[int]) -> dict[int, list[tuple[int, str, int]]]:
    """(id, source, length in characters) of each task's responses, in the order given."""
    found: dict[int, list[tuple[int, str, int]]] = {task: [] for task in tasks}
    rows = Response.objects.filter(task__in=tasks).order_by("task", "position").annotate(length=Length("text"))
    for task, *response in rows.values_list("task", "pk", "source", "length"):
        found[task].append(tuple(response))  # type: ignore[arg-type]
    return found


def _array(column: array[Any], kind: str = "i4") -> Array:
    return np.frombuffer(column, dtype=kind) if len(column) else np.empty(0, dtype=kind)
