"""Names that stand in the loop's own records, replaced where a person's name is taken away."""

from __future__ import annotations

from typing import Any

from rlhf.models import Cut, Model, Round, Snapshot

Json = dict[str, Any]

DECIDED: tuple[Any, ...] = (Model.objects, Round.objects)
CUT: tuple[Any, ...] = (Snapshot.objects, Cut.objects)


def rename(before: str, name: str) -> None:
    """`name` instead of `before`, in decisions and in the recipes of what is or will be cut; files stay as they are."""
    for rows in DECIDED:
        for pk, decision in rows.filter(decision__by=before).values_list("pk", "decision"):
            rows.filter(pk=pk).update(decision=decision | {"by": name})
    for rows in CUT:
        for pk, recipe in rows.values_list("pk", "recipe"):
            if before in (recipe.get("exclude_annotators") or ()):
                rows.filter(pk=pk).update(recipe=_renamed(recipe, before, name))
    for pk, plan in Round.objects.values_list("pk", "plan"):
        recipe = plan.get("snapshot") or {}
        if before in (recipe.get("exclude_annotators") or ()):
            Round.objects.filter(pk=pk).update(plan=plan | {"snapshot": _renamed(recipe, before, name)})


def _renamed(recipe: Json, before: str, name: str) -> Json:
    people = [name if one == before else one for one in recipe["exclude_annotators"]]
    return recipe | {"exclude_annotators": people}
