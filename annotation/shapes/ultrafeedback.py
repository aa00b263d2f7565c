"""UltraFeedback: an instruction with several models' completions, each rated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext_noop

from annotation.cleaning import CleaningError, clean_text, kind_of
from annotation.models import Kind
from annotation.shapes.shape import Row, Shape, Target, without

USED = ("instruction", "prompt", "completions", "models")
OVERALL = ("overall_score", "overall_rating", "fine-grained_score", "score", "rating")
JUDGE = "completion-ratings"  # the judge of a file that names none


def _recognises(row: Row) -> bool:
    listed = row.get("completions")
    if not isinstance(listed, list) or not listed or not ("instruction" in row or "prompt" in row):
        return False
    return all(isinstance(one, dict) and ("response" in one or "text" in one) for one in listed)


def _records(row: Row, target: Target) -> Iterator[Row]:
    """A rating project gets one record a completion, with its ratings on the aspects that are asked there; a ranking
    project all completions in the order of their scores; a preference project the best and the worst of them.
    """
    prompt = row.get("instruction", row.get("prompt"))
    found = _completions(row.get("completions"))
    rest = dict(without(row, *USED))
    if target.kind == Kind.RATING:
        for number, one in enumerate(found, start=1):
            own = {"id": f"{rest['id']}#{number}"} if rest.get("id") is not None else {}
            yield _rated(prompt, one, rest | own, target)
    elif target.kind == Kind.RANKING:
        yield {"prompt": prompt, "responses": [_response(one) for one in found], **_ranking(found, target), **rest}
    elif target.kind == Kind.PREFERENCE:
        yield _pair(prompt, found, rest, target)
    else:
        best = max(found, key=lambda one: -1.0 if one["score"] is None else one["score"])
        yield {"prompt": prompt, "completion": best["text"], **rest}


def _completions(listed: Any) -> list[dict[str, Any]]:
    if not isinstance(listed, list) or not listed:
        raise CleaningError("completions", f"Must be a list of rated completions, not {kind_of(listed)}.")
    return [_completion(one, f"completions[{index}]") for index, one in enumerate(listed)]


def _completion(one: Any, place: str) -> dict[str, Any]:
    if not isinstance(one, dict):
        raise CleaningError(place, f"Must be an object with response and annotations, not {kind_of(one)}.")
    text = clean_text(one.get("response", one.get("text")), f"{place}.response")
    given = one.get("annotations") or {}
    if not isinstance(given, dict):
        raise CleaningError(f"{place}.annotations", f"Must be an object of aspects, not {kind_of(given)}.")
    ratings = {name: value for name, part in given.items() if (value := _number(_rating(part))) is not None}
    scores = [value for name in OVERALL if (value := _number(one.get(name))) is not None]
    mean = sum(ratings.values()) / len(ratings) if ratings else None
    return {
        "text": text,
        "source": str(one.get("model") or "")[:120],
        "ratings": ratings,
        "score": scores[0] if scores else mean,
    }


def _rating(part: Any) -> Any:
    return part.get("Rating", part.get("rating")) if isinstance(part, dict) else part


def _number(value: Any) -> float | None:
    """A rating as a number; UltraFeedback writes them as text, and "N/A" where there is none."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number == number and abs(number) < 1e9 else None


def _response(one: dict[str, Any]) -> Row:
    return {"text": one["text"], "source": one["source"], "score": one["score"]}


def _rated(prompt: Any, one: dict[str, Any], rest: Row, target: Target) -> Row:
    asked = {
        name: int(value)
        for name, value in one["ratings"].items()
        if value.is_integer() and 1 <= value <= target.aspects.get(name, 0)
    }
    record = {"prompt": prompt, "responses": [_response(one)], **rest}
    if left := {name: value for name, value in one["ratings"].items() if name not in asked}:
        record["ratings"] = left
    return record | (_judged({"ratings": asked}, target) if asked else {})


def _ranking(found: list[dict[str, Any]], target: Target) -> Row:
    scores = [one["score"] for one in found]
    if None in scores:
        return {}
    places = [[i for i, score in enumerate(scores) if score == place] for place in sorted(set(scores), reverse=True)]
    return _judged({"ranking": places}, target)


def _pair(prompt: Any, found: list[dict[str, Any]], rest: Row, target: Target) -> Row:
    scored = [one for one in found if one["score"] is not None]
    if len(scored) < 2:
        raise CleaningError("completions", "Fewer than two completions have a score, so there is no pair.")
    best, worst = max(scored, key=lambda one: one["score"]), min(reversed(scored), key=lambda one: one["score"])
    choice = "tie" if best["score"] == worst["score"] else "a"
    if best is worst:
        worst = next(one for one in scored if one is not best)
    record = {"prompt": prompt, "responses": [_response(best), _response(worst)], **rest}
    return record | _judged({"choice": choice}, target)


def _judged(body: Row, target: Target) -> Row:
    name = JUDGE if target.annotator == "imported" else target.annotator
    return {"annotations": [{"annotator": name, "body": body}]} if name else {}


SHAPE = Shape("ultrafeedback", gettext_noop("UltraFeedback completions with ratings"), _recognises, _records)
