"""One imported record: checked, in one shape, ready to be stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from annotation import bodies
from annotation.bodies import BodyError, Shown
from annotation.cleaning import CleaningError, clean_json, clean_text, kind_of
from annotation.models import Annotation, Kind, Project
from annotation.models.people import JUDGES
from annotation.models.tasks import MAX_PRIORITY
from annotation.questions import questions_of
from annotation.shapes import trl
from annotation.short_check import LONGEST_ID, PLAIN, ShortCheck, content_id, is_identifier

FIELDS = {
    "id",
    "prompt",
    "responses",
    "response_a",
    "response_b",
    "chosen",
    "rejected",
    "completion",
    "metadata",
    "priority",
    "gold",
    "qualification",
    "need",
    "assigned_to",
    "annotations",
}
MOST_SECONDS = 10**9  # sums of them stay numbers
ABOUT_A_JUDGEMENT = {"annotator", "body", "created_at", "seconds", "revision", "status", "guideline_version"}
MOST_VERSIONS = 1_000_000
# What most records do not have.
RARE = {"annotations", "assigned_to", "gold", "need", "priority", "qualification"}
ROLES = ("system", "user", "assistant")
RESPONSES = {Kind.PREFERENCE: (2, 2), Kind.RANKING: (2, 26), Kind.RATING: (1, 1), Kind.DEMONSTRATION: (0, 1)}
MAX_MESSAGES = 1000
TEXT_ALONE = (
    "Is missing: a text without a prompt (TRL's language modeling) has no answer to judge; map text to prompt to have "
    "it answered."
)


@dataclass(frozen=True)
class Judgement:
    """An existing judgement; `body` holds positions (0, 1, …) where a stored one holds response ids."""

    annotator: str
    body: dict[str, Any]
    created_at: datetime | None
    seconds: float | None
    status: str
    guideline: int | None = None  # the number of the version that it was made under


class Record(NamedTuple):
    """A checked record: `fields` are what tasks.add_tasks takes."""

    fields: dict[str, Any]
    judgements: list[Judgement]
    has_own_id: bool


@dataclass
class Checker:
    """Checks the records of one import into `project`."""

    project: Project
    annotator: str = "imported"  # whose judgement a chosen/rejected pair or a completion is; "" for nobody's
    metadata: dict[str, Any] = field(default_factory=dict)  # the same for every record
    kept_as_metadata: set[str] = field(default_factory=set)  # fields without a meaning here
    usual: Judgement | None = None  # what every chosen/rejected pair says, checked once
    judges: dict[str, int] | None = None  # who may be assigned, by name; read when first asked
    short: ShortCheck | None = field(init=False)  # where every record gets metadata, all go the long way

    def __post_init__(self) -> None:
        asked = questions_of(self.project)
        aspects = [aspect | {"required": False} for aspect in asked["aspects"]]
        # What is asked of people here binds no judgement that was made elsewhere.
        lenient = {"aspects": aspects, "rationale": "optional", "tie": True, "both_bad": True, "improve": True}
        lenient |= {name: asked[name] for name in ("reasons", "highlights", "level")}
        lenient["flags"] = [flag | {"reason": False} for flag in asked["flags"]]
        self.lenient = Project(kind=self.project.kind, questions=lenient)
        numbers, is_pair = RESPONSES[Kind(self.project.kind)], self.project.kind == Kind.PREFERENCE
        self.short = None if self.metadata else ShortCheck(*numbers, is_pair)

    def check(self, raw: dict[str, Any]) -> Record:
        """The record in one shape, or a CleaningError with the first field that is wrong."""
        if self.short and (fields := self.short.fields_of(raw)) is not None:
            return Record(fields, [], "id" in raw)
        given = {name: value for name, value in raw.items() if value is not None}
        prompt, responses, verdict = self._conversation(given)
        self._check_number(responses)
        if verdict is None and not given.keys() & RARE:
            identifier = _identifier(given["id"]) if "id" in given else _content_id(prompt, responses, [])
            fields = {"prompt": prompt, "responses": responses, "metadata": self._metadata(given), "id": identifier}
            return Record(PLAIN | fields, [], "id" in given)
        shown = _shown(prompt, responses)
        judgements = self._judgements(given, verdict, shown)
        told: dict[str, Any] = {
            "prompt": prompt,
            "responses": responses,
            "metadata": self._metadata(given),
            "priority": _whole(given, "priority", -MAX_PRIORITY, MAX_PRIORITY) or 0,
            "gold": self._gold(given, shown),
            "qualification": self._qualification(given),
            "need": _whole(given, "need", 1, 100),
            "assigned_to": self._assigned_to(given, {judgement.annotator for judgement in judgements}),
            "done": sum(judgement.status == Annotation.Status.SUBMITTED for judgement in judgements),
            "id": _identifier(given["id"]) if "id" in given else _content_id(prompt, responses, judgements),
        }
        return Record(told, judgements, "id" in given)

    def _conversation(self, given: dict[str, Any]) -> tuple[list[Any], list[dict[str, Any]], dict[str, Any] | None]:
        """Prompt, responses, and the judgement that a chosen/rejected pair or a demonstration is."""
        ways = [name for name in ("responses", "response_a", "chosen", "completion") if name in given]
        if len(ways) > 1:
            raise CleaningError(ways[1], f"Is given beside {ways[0]}; give the responses in one way.")
        if "chosen" in given or "rejected" in given:
            prompt, good, bad = _pair(given)
            sides = [_response(good, "chosen", "chosen"), _response(bad, "rejected", "rejected")]
            return _prompt(prompt), sides, self._preferred()
        if "prompt" not in given:
            raise CleaningError("prompt", TEXT_ALONE if given.keys() & {"text"} else "Is missing.")
        prompt = _prompt(given["prompt"])
        if "completion" in given:
            text = clean_text(trl.answer_of(given["completion"], "completion"), "completion")
            if self.project.kind == Kind.DEMONSTRATION and self.annotator:
                return prompt, [], {"text": text}
            return prompt, [_response(text, "completion")], None
        if "response_a" in given or "response_b" in given:
            names = ("response_a", "response_b")
            if missing := [name for name in names if name not in given]:
                raise CleaningError(missing[0], "Is missing.")
            return prompt, [_response(given[name], name) for name in names], None
        listed = given.get("responses", [])
        if not isinstance(listed, list):
            raise CleaningError("responses", f"Must be a list, not {kind_of(listed)}.")
        return prompt, [_response(item, f"responses[{index}]") for index, item in enumerate(listed)], None

    def _preferred(self) -> dict[str, Any]:
        if self.project.kind == Kind.RANKING:
            return {"ranking": [[0], [1]]}
        return {"choice": "a"}

    def _check_number(self, responses: list[dict[str, Any]]) -> None:
        least, most = RESPONSES[Kind(self.project.kind)]
        if not least <= len(responses) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise CleaningError(
                "responses", f"There are {len(responses)}; a {self.project.kind} project takes {wanted} a prompt."
            )
        if self.project.kind == Kind.PREFERENCE and responses[0]["text"] == responses[1]["text"]:
            raise CleaningError("responses", "The two are the same text, so there is nothing to choose between.")

    def _metadata(self, given: dict[str, Any]) -> dict[str, Any]:
        metadata = given.get("metadata", {})
        if not isinstance(metadata, dict):
            raise CleaningError("metadata", f"Must be an object, not {kind_of(metadata)}.")
        if not metadata and not self.metadata and given.keys() <= FIELDS:
            return {}
        extra = {name: value for name, value in given.items() if name not in FIELDS}
        self.kept_as_metadata |= extra.keys()
        return clean_json({**extra, **metadata, **self.metadata}, "metadata")

    def _gold(self, given: dict[str, Any], shown: Shown) -> Any:
        """The expected judgement in terms of the responses as given; it is checked but kept as it came."""
        if "gold" not in given:
            return None
        gold = given["gold"] if isinstance(given["gold"], dict) else {"choice": given["gold"]}
        self._body(gold, "gold", shown)
        return gold

    def _qualification(self, given: dict[str, Any]) -> bool:
        """Whether the record is an item of the qualification, which needs a known answer."""
        said = given.get("qualification", False)
        marked = {"true": True, "1": True, "false": False, "0": False, "": False}.get(str(said).lower())
        if marked is None:
            raise CleaningError("qualification", "Must be true or false.")
        if marked and "gold" not in given:
            raise CleaningError("qualification", "Needs gold beside it: the answer that people are told.")
        if marked and self.project.kind == Kind.DEMONSTRATION:
            raise CleaningError("qualification", "What people write cannot be told right or wrong.")
        return marked

    def _assigned_to(self, given: dict[str, Any], judged: set[str]) -> list[int]:
        """The people that a record names, as ids, without those who have `judged` it."""
        names = given.get("assigned_to", [])
        if isinstance(names, str):
            names = [name.strip() for name in names.split(",") if name.strip()]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise CleaningError("assigned_to", "Must be a user name or a list of them.")
        if names and self.judges is None:
            judging = self.project.memberships.filter(role__in=JUDGES, user__is_active=True)
            self.judges = dict(judging.values_list("user__username", "user"))
        if strangers := [name for name in names if name not in (self.judges or {})]:
            raise CleaningError("assigned_to", f"{strangers[0]} does not judge in this project; add them first.")
        return [self.judges[name] for name in dict.fromkeys(names) if name not in judged] if self.judges else []

    def _judgements(self, given: dict[str, Any], verdict: dict[str, Any] | None, shown: Shown) -> list[Judgement]:
        listed = given.get("annotations", [])
        if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
            raise CleaningError("annotations", 'Must be a list of objects such as {"annotator": "ada", "choice": "a"}.')
        if not listed and verdict is not None and self.annotator:
            if "text" not in verdict:
                self.usual = self.usual or self._judgement({"annotator": self.annotator, "body": verdict}, "", shown)
                return _one_standing([self.usual])
            listed = [{"annotator": self.annotator, "body": verdict}]
        found = [self._judgement(item, f"annotations[{index}]", shown) for index, item in enumerate(listed)]
        return _one_standing(found)

    def _judgement(self, item: dict[str, Any], place: str, shown: Shown) -> Judgement:
        body = item.get("body")
        if body is None:
            body = {name: value for name, value in item.items() if name not in ABOUT_A_JUDGEMENT}
        name = clean_text(item.get("annotator"), f"{place}.annotator", limit=150).strip()
        if not name:
            raise CleaningError(f"{place}.annotator", "Must name who judged.")
        seconds = item.get("seconds")
        if seconds is not None and (type(seconds) not in (int, float) or not 0 <= seconds <= MOST_SECONDS):
            raise CleaningError(f"{place}.seconds", f"Must be a number of seconds, from 0 to {MOST_SECONDS:,}.")
        status = item.get("status", "")
        if status and status not in Annotation.Status.values:
            raise CleaningError(f"{place}.status", f"Must be one of {', '.join(Annotation.Status.values)}.")
        return Judgement(
            annotator=name,
            body=self._body(body, place, shown),
            created_at=_moment(item.get("created_at"), f"{place}.created_at"),
            seconds=None if seconds is None else float(clean_json(seconds, f"{place}.seconds")),
            status=status,
            guideline=_whole(item, "guideline_version", 1, MOST_VERSIONS, f"{place}.guideline_version"),
        )

    def _body(self, body: Any, place: str, shown: Shown) -> dict[str, Any]:
        if isinstance(body, dict) and isinstance(body.get("ranking"), list):
            body = body | {"ranking": _positions(body["ranking"])}
        try:
            return bodies.check(self.lenient, body, shown)
        except BodyError as error:
            name, message = next(iter(error.errors.items()))
            raise CleaningError(place if name == "body" else f"{place}.{name}", message) from None


def _shown(prompt: list[Any], responses: list[dict[str, Any]]) -> Shown:
    """The record as a judgement speaks of it: positions in place of response ids."""
    texts = {position: response["text"] for position, response in enumerate(responses)}
    turns = [place for place, message in enumerate(prompt) if message["role"] == "assistant"]
    return Shown(list(texts), lambda: texts, turns)


def _content_id(prompt: list[Any], responses: list[dict[str, Any]], judgements: list[Judgement]) -> str:
    said = [judgement.body["text"] for judgement in judgements if "text" in judgement.body]
    return content_id(prompt, [response["text"] for response in responses], said)


def _pair(given: dict[str, Any]) -> tuple[Any, Any, Any]:
    for name in ("chosen", "rejected"):
        if name not in given:
            raise CleaningError(name, "Is missing.")
    chosen, rejected, prompt = given["chosen"], given["rejected"], given.get("prompt")
    if isinstance(chosen, list) and isinstance(rejected, list):
        shared = None if prompt is None else _prompt(prompt)
        return trl.split_messages(_messages(chosen, "chosen"), _messages(rejected, "rejected"), shared)
    chosen, rejected = clean_text(chosen, "chosen"), clean_text(rejected, "rejected")
    if prompt is not None:
        return prompt, chosen, rejected
    for name, text in (("chosen", chosen), ("rejected", rejected)):
        if not trl.is_transcript(text):
            raise CleaningError(
                name,
                'Needs a prompt beside it, or must be a "\\n\\nHuman: … \\n\\nAssistant: …" transcript; '
                "the format trl-texts takes what both begin with as the prompt.",
            )
    return trl.split_transcripts(chosen, rejected)


def _prompt(value: Any) -> list[dict[str, str]]:
    if isinstance(value, str):
        return [{"role": "user", "content": _said(value, "prompt")}]
    return _messages(value, "prompt")


def _messages(value: Any, field: str) -> list[dict[str, str]]:
    if not isinstance(value, list):
        raise CleaningError(field, f"Must be text or a list of messages, not {kind_of(value)}.")
    if not 1 <= len(value) <= MAX_MESSAGES:
        raise CleaningError(field, f"Must hold 1 to {MAX_MESSAGES} messages, not {len(value)}.")
    return [_message(message, f"{field}[{index}]") for index, message in enumerate(value)]


def _message(value: Any, place: str) -> dict[str, str]:
    if not isinstance(value, dict) or not {"role", "content"} <= value.keys() or len(value) > 2:
        raise CleaningError(place, 'Must be {"role": "…", "content": "…"} and nothing more.')
    if value["role"] not in ROLES:
        raise CleaningError(f"{place}.role", f"Must be one of {', '.join(ROLES)}.")
    return {"role": value["role"], "content": _said(value["content"], f"{place}.content")}


def _said(value: Any, place: str) -> str:
    content = clean_text(value, place)
    if not content or content.isspace():
        raise CleaningError(place, "Must not be empty.")
    return content


def _response(value: Any, place: str, source: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {"text": clean_text(value, place), "source": source}
    if strange := value.keys() - {"text", "source", "params", "score"}:
        raise CleaningError(f"{place}.{min(strange)}", "Is not known; a response has text, source, params and score.")
    params, score = value.get("params") or {}, value.get("score")
    if not isinstance(params, dict):
        raise CleaningError(f"{place}.params", f"Must be an object, not {kind_of(params)}.")
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float)):
        raise CleaningError(f"{place}.score", f"Must be a number, not {kind_of(score)}.")
    return {
        "text": clean_text(value.get("text"), f"{place}.text"),
        "source": clean_text(value.get("source") or "", f"{place}.source", limit=120),
        "params": clean_json(params, f"{place}.params"),
        "score": clean_json(score, f"{place}.score"),
    }


def _identifier(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    text = clean_text(value, "id", limit=LONGEST_ID)
    if not is_identifier(text):
        raise CleaningError("id", "Must be printable text without spaces around it.")
    return text


def _whole(given: dict[str, Any], name: str, least: int, most: int, place: str = "") -> int | None:
    value = given.get(name)
    if isinstance(value, str) and value.strip().removeprefix("-").isdecimal() and len(value) < 20:
        value = int(value)  # a CSV cell
    if value is not None and (type(value) is not int or not least <= value <= most):
        raise CleaningError(place or name, f"Must be a whole number from {least:,} to {most:,}.")
    return value


def _positions(ranking: list[Any]) -> list[Any]:
    """Places that name responses by letter or by index, as indexes."""
    places = [place if isinstance(place, list) else [place] for place in ranking]
    return [
        [ord(name) - 97 if isinstance(name, str) and len(name) == 1 else name for name in place] for place in places
    ]


def _moment(value: Any, place: str) -> datetime | None:
    if value is None:
        return None
    try:
        moment = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise CleaningError(place, "Must be a time such as 2026-03-01T12:00:00Z.")
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    if not datetime(1970, 1, 1, tzinfo=UTC) <= moment <= timezone.now():
        raise CleaningError(place, "Must lie in the past, after 1970.")
    return moment


def _one_standing(found: list[Judgement]) -> list[Judgement]:
    """Of several judgements by one person the last stands and the earlier ones are its history, unless they say."""
    last = {judgement.annotator: index for index, judgement in enumerate(found)}
    settled = []
    for index, judgement in enumerate(found):
        standing = last[judgement.annotator] == index
        status = judgement.status or (Annotation.Status.SUBMITTED if standing else Annotation.Status.REPLACED)
        if status == Annotation.Status.SUBMITTED and not standing:
            raise CleaningError(
                f"annotations[{index}]", f"{judgement.annotator} judges again later; only the last can stand."
            )
        settled.append(Judgement(**{**judgement.__dict__, "status": status}))
    return settled
