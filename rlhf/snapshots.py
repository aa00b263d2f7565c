"""Snapshots: immutable datasets cut from annotations, named by their content."""

from __future__ import annotations

from typing import Any

from annotation.models import Project, User
from rlhf.models import Snapshot


class SnapshotError(ValueError):
    """A snapshot that cannot be cut; `field` is the key of the recipe to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def cut(
    project: Project, *, name: str, type: str, recipe: dict[str, Any] | None = None, by: User | None = None
) -> Snapshot:
    """The next version of `name`: the same annotations and recipe share one folder, byte for byte."""
    raise NotImplementedError  # until annotation.exporting is there


def preview(project: Project, type: str, recipe: dict[str, Any] | None = None) -> dict[str, Any]:
    """What `cut` would count, storing nothing: `{"train", "eval", "annotations", "annotators", "left_out", …}`."""
    raise NotImplementedError
