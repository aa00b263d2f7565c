"""Snapshots pushed to the hub: by command, from their page and by the API; never without a token."""

import pytest

from annotation.importing import import_records
from rlhf import hub, pushing, snapshots
from rlhf.models import Push
from tests import factories
from tests.hub import TOKEN, serving

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_folder")]


@pytest.fixture
def snapshot():
    project = factories.project()
    vote = {"annotator": "ann", "choice": "a"}
    rows = [{"id": str(n), "prompt": f"{n}?", "responses": ["x", "y"], "annotations": [vote]} for n in (1, 2)]
    assert import_records(project, rows).applied
    return snapshots.cut(project, name="prefs", type="preference", recipe={"split": {"eval_share": 0}})


class FakeHub:
    """Stands where HfApi stands."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        def call(**given):
            self.calls.append((name, given))
            if given["repo_id"] == "team/full":
                raise OSError("403 Forbidden for hf_x: storage limit reached")
            done = {"oid": "abc", "commit_url": "https://hub.example/commit/abc", "repo_id": given["repo_id"]}
            return type("Done", (), done)

        return call


def test_a_snapshot_is_pushed_as_it_is_and_only_with_a_token(settings, snapshot):
    api = FakeHub()
    settings.HF_TOKEN = ""
    with pytest.raises(hub.HubError, match="Set HF_TOKEN"):
        hub.push(snapshot, "team/prefs", api=api)
    settings.HF_TOKEN = "hf_x"
    for name in ("team/../prefs", "a b", "a/b/c"):
        with pytest.raises(hub.HubError, match="no name of a repository"):
            hub.push(snapshot, name, api=api)
    assert api.calls == []
    assert hub.push(snapshot, "team/prefs", api=api) == "https://hub.example/commit/abc"
    create, upload, tag = api.calls
    assert create == (
        "create_repo",
        {"repo_id": "team/prefs", "repo_type": "dataset", "private": True, "exist_ok": True},
    )
    assert upload[1]["folder_path"] == str(snapshot.folder)
    assert sorted(upload[1]["allow_patterns"]) == sorted(path.name for path in snapshot.folder.iterdir())
    assert (tag[1]["tag"], tag[1]["revision"]) == (snapshot.content_hash[:16], "abc")
    with pytest.raises(hub.HubError, match="storage limit reached"):
        hub.push(snapshot, "team/full", api=api)


def test_the_real_client_pushes_to_a_hub_and_the_rows_come_back_by_name(settings, snapshot, monkeypatch, caplog):
    caplog.set_level("DEBUG")
    settings.HF_TOKEN = TOKEN
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with serving(monkeypatch) as served:
        address = hub.push(snapshot, "prefs")  # the token's owner's, as the hub completes the name
        made = served.repositories["team/prefs"]
        assert address == f"{served.url}/datasets/team/prefs/commit/{made.head}"
        assert (made.private, len(made.commits)) == (True, 1)
        assert made.files == {path.name: path.read_bytes() for path in snapshot.folder.iterdir()}
        assert made.tags == {snapshot.content_hash[:16]: made.head}
        hub.push(snapshot, "team/prefs")  # again
        back = factories.project()
        report = import_records(back, "hf:team/prefs:train")
        assert (report.created, report.annotations) == (2, 2)
        with pytest.raises(hub.HubError, match="the token may not write there"):
            hub.push(snapshot, "others/prefs")
        settings.HF_TOKEN = "hf_wrong"
        with pytest.raises(hub.HubError, match="does not know the token") as refused:
            hub.push(snapshot, "team/prefs")
    with pytest.raises(hub.HubError, match="the hub cannot be reached") as unreachable:
        hub.push(snapshot, "team/prefs")
    told = f"{refused.value} {unreachable.value} {caplog.text}"
    assert TOKEN not in told and "hf_wrong" not in told and refused.value.__cause__ is None


def test_a_page_pushes_in_the_background_and_tells_how_it_went(
    client, settings, snapshot, django_capture_on_commit_callbacks
):
    settings.HF_TOKEN = "hf_x"
    url = f"{snapshot.get_absolute_url()}pushes/"
    client.force_login(factories.member(snapshot.project, "trainer"))
    assert "Push this version" in client.get(snapshot.get_absolute_url()).content.decode()
    assert "no name of a repository" in client.post(url, {"repository": "a b"}).content.decode()
    with django_capture_on_commit_callbacks() as queued:
        for _ in range(2):  # two clicks are one push
            reply = client.post(url, {"repository": "team/prefs"}, headers={"HX-Request": "true"}).content.decode()
            assert "Queued" in reply and "every 3s" in reply and "Push this version" not in reply
    assert len(queued) == 1
    made = Push.objects.get()
    pushing.carry_out(made.pk, FakeHub())
    pushing.carry_out(made.pk, None)  # started again although it is done: nothing is sent twice
    page = client.get(url).content.decode()
    assert "https://hub.example/commit/abc" in page and "every 3s" not in page
    failed = pushing.start(snapshot, "team/full")
    pushing.carry_out(failed.pk, FakeHub())
    page = client.get(url).content.decode()
    assert "storage limit reached" in page and "hf_x" not in page
    client.force_login(factories.user())
    assert client.get(url).status_code == 404


def test_without_a_token_the_page_says_how_and_nothing_is_taken(client, settings, snapshot):
    settings.HF_TOKEN = ""
    client.force_login(factories.member(snapshot.project, "trainer"))
    page = client.get(snapshot.get_absolute_url()).content.decode()
    assert "HF_TOKEN" in page and "Push this version" not in page
    assert client.post(f"{snapshot.get_absolute_url()}pushes/", {"repository": "team/prefs"}).status_code == 422
    reply = client.post(f"/api/v1/snapshots/{snapshot.pk}/pushes/", {"repository": "team/prefs"}, "application/json")
    assert (reply.status_code, "Set HF_TOKEN" in reply.json()["errors"]["repository"][0]) == (400, True)
    assert not Push.objects.exists()


def test_the_api_pushes_and_lists(client, settings, snapshot):
    settings.HF_TOKEN = "hf_x"
    url = f"/api/v1/snapshots/{snapshot.pk}/pushes/"
    client.force_login(factories.member(snapshot.project, "reader"))
    assert client.post(url, {"repository": "team/prefs"}, "application/json").status_code == 403
    client.force_login(factories.member(snapshot.project, "trainer"))
    assert client.post(url, {"repository": "team/prefs"}, "application/json").json()["state"] == "queued"
    Push.objects.update(changed_at="2020-01-01T00:00Z")
    assert pushing.sweep() == 1
    (row,) = client.get(url).json()["results"]
    assert (row["state"], row["problem"]) == ("failed", pushing.DIED)
    client.force_login(factories.user())
    assert client.get(url).status_code == 404
