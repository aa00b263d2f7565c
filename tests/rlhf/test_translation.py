"""The pages of the loop in another language: nothing a reader sees is left in English."""

import pytest
from django.test import Client

from annotation.models import Membership, Response, Role
from rlhf.models import Model, Run, Snapshot
from tests import factories
from tests.annotation.test_translation import brackets, left_in_english
from tests.rlhf import rows
from tests.rlhf.page_rows import address, deciding, ended, judged, live, share

__all__ = ["brackets"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder", "brackets")]

# Not Hone's words: names, what the engine calls its settings, and columns of files.
CALLED = {"Question", "LoRA", "KL", "SFT", "DPO", "PPO", "KTO", "GRPO", "RLOO", "kB", "drop", "keep"}


def test_the_pages_of_the_loop_are_wholly_in_the_readers_language(client: Client) -> None:
    project = factories.project(name="Ω", question="")
    judged(project, count=4)
    person = factories.member(project, Role.MANAGER)
    rows.snapshot(project)
    deciding(project)
    live(project)
    ended(project, report={"eval": {"accuracy": share(0.6), "baseline_shorter": share(0.7), "calibration": []}})
    client.force_login(person)
    paths = [address(page, project) for page in ("loop", "datasets", "runs", "models", "new_snapshot")]
    fresh = factories.project(name="Ω", question="")  # where no round is open
    Membership.objects.create(project=fresh, user=person, role=Role.MANAGER)
    paths += [address("data_lineage", project), address("new_round", fresh)]
    named = (Model.objects.all(), Run.objects.all(), Snapshot.objects.all())
    answers = set(Response.objects.values_list("text", flat=True))
    names = (
        answers | CALLED | {person.username, project.slug, fresh.slug} | {one.name for known in named for one in known}
    )
    found = {}
    for path in paths:
        answer = client.get(path, headers={"accept-language": "eo"})
        assert answer.status_code == 200, path
        found[path] = left_in_english(answer.content.decode(), names)
    assert "\n".join(f"{path} {text}" for path, texts in found.items() for text in texts) == ""
