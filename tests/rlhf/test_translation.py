"""The pages of the loop in another language: nothing a reader sees is left in English."""

import pytest
from django.test import Client

from annotation.models import Role
from rlhf import snapshots
from rlhf.models import Model, Run
from tests import factories
from tests.annotation.test_translation import brackets, left_in_english
from tests.rlhf import rows
from tests.rlhf.page_rows import address, deciding, ended, judged, live, share

__all__ = ["brackets"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder", "brackets")]

CALLED = {"desk-base", "policy-0", "policy-1", "dpo-r1", "rm", "pairs", "Question", "LoRA", "KL", "SFT", "DPO", "PPO"}
OWN = {"API", "KTO", "GRPO", "RLOO", "README", "md", "json", "manifest"}


def test_the_pages_of_the_loop_are_wholly_in_the_readers_language(client: Client) -> None:
    project = factories.project(name="Ω", question="")
    judged(project)
    person = factories.member(project, Role.MANAGER)
    first = snapshots.cut(project, name="pairs", type="preference", by=person)
    second = snapshots.cut(project, name="pairs", type="preference", recipe={"flags": "keep"}, by=person)
    round, policy = deciding(project)
    going = live(project)
    report = {"eval": {"accuracy": share(0.6), "baseline_shorter": share(0.7), "calibration": []}}
    over = ended(project, report=report)
    client.force_login(person)
    paths = [address(page, project) for page in ("loop", "datasets", "runs", "models", "new_run", "new_snapshot")]
    paths += [address("new_round", project), address("diff_snapshots", project, second.pk, first.pk)]
    paths += [one.get_absolute_url() for one in (second, policy, going, over)]
    names = CALLED | OWN | {person.username, project.slug, going.name, over.name}
    names |= set(Model.objects.values_list("name", flat=True)) | set(Run.objects.values_list("name", flat=True))
    found = {}
    for path in paths:
        answer = client.get(path, headers={"accept-language": "eo"})
        assert answer.status_code == 200, path
        found[path] = left_in_english(answer.content.decode(), names)
    assert "\n".join(f"{path} {text}" for path, texts in found.items() for text in texts) == ""
    assert round.pk and rows
