"""Projects whose tasks were judged by a cast of people, as an import brings them."""

import random
from typing import Any

from annotation.importing import import_records
from annotation.models import Project
from tests import factories


def record(number: int, cast: dict[str, Any], **fields: Any) -> dict[str, Any]:
    listed = [
        {"annotator": name, **(said if isinstance(said, dict) else {"choice": said})} for name, said in cast.items()
    ]
    responses = [{"text": f"short {number}", "source": "m1"}, {"text": f"a longer one {number}", "source": "m2"}]
    return {"id": str(number), "prompt": "?", "responses": responses, "annotations": listed} | fields


def judged(casts: list[dict[str, Any]], kind: str = "preference", **fields: Any) -> Project:
    project = factories.project(kind, **fields)
    assert import_records(project, [record(number, cast) for number, cast in enumerate(casts)]).applied
    return project


def noisy(tasks: int = 40) -> Project:
    """Ann and ben mostly see the same, cat guesses; dan judged one task."""
    chance = random.Random(3)
    casts = []
    for _ in range(tasks):
        right = chance.choice("ab")
        seen = {name: right if chance.random() < 0.9 else chance.choice(["a", "b", "tie"]) for name in ("ann", "ben")}
        casts.append(seen | {"cat": chance.choice("ab")})
    return judged([casts[0] | {"dan": "a"}, *casts[1:]])
