"""The loop's tables, by subject."""

from rlhf.models.cuts import Cut
from rlhf.models.models import Model
from rlhf.models.pushes import Push
from rlhf.models.rounds import Round
from rlhf.models.runs import Run
from rlhf.models.snapshots import Snapshot

__all__ = ["Cut", "Model", "Push", "Round", "Run", "Snapshot"]
