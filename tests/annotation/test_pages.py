"""Every page through Django's client: who may open it, what it says, and what it keeps to itself."""

from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client

from annotation import judging, projects, question_form, queue
from annotation.models import Annotation, Assignment, Membership, Project, Role, User
from annotation.questions import check_questions, questions_of
from annotation.templates import TEMPLATES
from annotation.views.projects import FIELDS
from tests import factories

pytestmark = pytest.mark.django_db


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def preference(tasks: int = 2, **fields: Any) -> tuple[Project, User, Client]:
    project = factories.project(**fields)
    for _ in range(tasks):
        factories.task(project)
    person = factories.member(project, Role.ANNOTATOR)
    return project, person, signed_in(person)


def work(project: Project) -> str:
    return f"/projects/{project.slug}/work/"


def held(person: User) -> Assignment:
    return Assignment.objects.live().get(annotator=person)


SCRIPT = {"X-Requested-With": "fetch"}


def test_a_stranger_is_sent_to_sign_in_and_a_script_is_told_401() -> None:
    project, _, _ = preference()
    answer = Client().get(work(project))
    assert answer.status_code == 302 and answer.url == f"/login/?next={work(project)}"
    assert Client().get(work(project), headers=SCRIPT).status_code == 401
    assert Client().get(work(project), headers={"HX-Request": "true"}).status_code == 401


def test_somebody_without_a_role_gets_404_everywhere() -> None:
    project, person, client = preference()
    client.get(work(project))
    task = held(person).task_id
    outsider = signed_in(factories.user())
    for path in ("", "work/", "settings/", "people/", "import/", "export/"):
        assert outsider.get(f"/projects/{project.slug}/{path}").status_code == 404, path
    for action in ("judge", "skip", "draft", "renew", "ahead"):
        assert outsider.post(f"/tasks/{task}/{action}/").status_code == 404, action
    Membership.objects.filter(user=person).delete()
    assert client.post(f"/tasks/{task}/renew/").status_code == 404  # nobody holds an item where they work no longer


def test_an_annotator_may_judge_and_nothing_else() -> None:
    project, _, client = preference()
    assert client.get(work(project)).status_code == 200
    for path in ("", "settings/", "people/", "import/", "export/"):
        assert client.get(f"/projects/{project.slug}/{path}").status_code == 403, path


def test_the_judging_page_tells_nothing_about_where_answers_come_from() -> None:
    project = factories.project()
    record = {
        "responses": ["Yes.", "No."],
        "gold": {"choice": "a"},
        "metadata": {"secret": "lesson"},
        "id": "callers-own-id",
    }
    task = factories.task(project, **record)
    task.responses.update(source="model-that-wrote-it")
    client = signed_in(factories.member(project))
    html = client.get(work(project)).content.decode()
    assert "Yes." in html
    for word in ("model-that-wrote-it", "gold", "lesson", "callers-own-id"):
        assert word not in html


def test_a_plain_form_stores_the_answer_and_goes_on() -> None:
    project, person, client = preference()
    client.get(work(project))
    first = held(person)
    sent = {"verdict": "2", "rationale": "Shorter", "flag": ["unclear"], "key": "k1", "seconds": "4.5"}
    answer = client.post(f"/tasks/{first.task_id}/judge/", sent)
    assert answer.status_code == 302 and answer.url == work(project)
    stored = Annotation.objects.get()
    assert (stored.body["choice"], stored.body["strength"]) == (first.shown[0], 2)
    assert (stored.body["rationale"], stored.body["flags"], stored.seconds) == ("Shorter", ["unclear"], 4.5)
    assert client.get(work(project)).status_code == 200 and held(person).pk != first.pk


def test_the_same_key_stores_one_answer() -> None:
    project, person, client = preference()
    client.get(work(project))
    task = held(person).task_id
    for _ in range(2):
        assert client.post(f"/tasks/{task}/judge/", {"verdict": "5", "key": "once"}, headers=SCRIPT).status_code == 200
    assert Annotation.objects.count() == 1


def test_a_script_gets_the_next_item_or_the_one_after_it(django_assert_max_num_queries: Any) -> None:
    project, person, client = preference(tasks=3)
    client.get(work(project))
    first = held(person)
    following = queue.prefetch_next(project, person, besides=first)
    assert following is not None
    sent = {"verdict": "1", "key": "k", "next": following.task_id}
    with django_assert_max_num_queries(17):  # who asks, submit and next at eight at most each, how far they are
        told = client.post(f"/tasks/{first.task_id}/judge/", sent, headers=SCRIPT).json()
    assert (told["done"], told["number"]) == (1, 2) and "item" not in told
    assert 'data-done="1"' in told["ahead"] and 'data-number="2"' in told["ahead"]
    assert f'data-task="{following.task_id}"' not in told["ahead"] and 'data-task="' in told["ahead"]
    told = client.post(f"/tasks/{following.task_id}/judge/", {"verdict": "7", "key": "l"}, headers=SCRIPT).json()
    assert 'id="item"' in told["item"]


def test_a_bad_answer_comes_back_with_what_was_sent() -> None:
    project, person, client = preference()
    client.get(work(project))
    task = held(person).task_id
    answer = client.post(f"/tasks/{task}/judge/", {"rationale": "Because of its tone"})
    assert answer.status_code == 422
    assert b"Because of its tone" in answer.content and b"Not saved" in answer.content
    answer = client.post(f"/tasks/{task}/judge/", {"rationale": "x"}, headers=SCRIPT)
    assert answer.status_code == 422 and "choice" in answer.json()["errors"]


def test_an_answer_for_a_task_that_went_to_somebody_else_is_refused_with_a_reason() -> None:
    project, person, client = preference(tasks=1)
    client.get(work(project))
    task = held(person).task
    Assignment.objects.update(lease_until="2020-01-01T00:00:00Z")
    queue.expire_leases()
    other = factories.member(project)
    taken = queue.lease_next(project, other)
    assert taken is not None
    judging.submit(task, other, {"choice": "a", "strength": 1})
    answer = client.post(f"/tasks/{task.pk}/judge/", {"verdict": "1"}, headers=SCRIPT)
    assert answer.status_code == 409 and "ran out" in answer.json()["title"]
    assert Annotation.objects.count() == 1


def test_undo_selects_the_earlier_answer() -> None:
    project, person, client = preference()
    client.get(work(project))
    task = held(person).task_id
    client.post(f"/tasks/{task}/judge/", {"verdict": "6"})
    made = Annotation.objects.get()
    html = client.post(f"/annotations/{made.pk}/undo/").content.decode()
    assert 'value="6" data-key="6" aria-label="B better" checked' in html
    assert signed_in(factories.user()).post(f"/annotations/{made.pk}/undo/").status_code == 404


def test_a_draft_is_kept_and_shown_again() -> None:
    project, person, client = preference()
    client.get(work(project))
    task = held(person).task_id
    assert client.post(f"/tasks/{task}/draft/", {"rationale": "Half a thou"}, headers=SCRIPT).status_code == 204
    assert b'value="Half a thou"' in client.get(work(project)).content


def test_a_demonstration_can_start_from_the_models_draft() -> None:
    project = factories.project(kind="demonstration")
    task = factories.task(project, responses=["A first try."])
    client = signed_in(factories.member(project))
    client.get(work(project))
    assert client.post(f"/tasks/{task.pk}/draft/", {"start": "1"}).status_code == 302
    assert b">A first try.</textarea>" in client.get(work(project)).content


def test_a_preview_shows_the_text_and_the_changes() -> None:
    _, _, client = preference(tasks=0)
    html = client.post("/preview/", {"text": "**new** words", "original": "old words"}).content.decode()
    assert "<strong>new</strong>" in html and "<del>old</del>" in html and 'data-words="2"' in html


def test_signing_in_goes_on_to_the_page_that_was_asked_for_and_nowhere_else() -> None:
    factories.user("ann")
    sent = {"username": "ann", "password": "correct horse battery"}
    assert Client().post("/login/", sent | {"next": "/my-work/"}).url == "/my-work/"
    assert Client().post("/login/", sent | {"next": "https://example.org/"}).url == "/"
    assert Client().post("/login/", sent | {"password": "wrong"}).status_code == 422
    assert Client().post("/login/", sent, headers=SCRIPT).status_code == 204


def test_a_new_project_gets_a_free_address_and_its_maker_as_manager() -> None:
    person = factories.admin()
    client = signed_in(person)
    sent = {"name": "New", "start": "rating", "overlap": "2", "guidelines": "Be fair."}
    for slug in ("new-2", "new-3"):
        answer = client.post("/projects/new/", sent)
        assert answer.status_code == 302 and answer.url == f"/projects/{slug}/import/"
    made = Project.objects.get(slug="new-2")
    assert made.guideline and made.guideline.text == "Be fair."
    assert Membership.objects.get(project=made).role == Role.MANAGER
    annotator = signed_in(factories.member(made))
    assert annotator.get("/projects/new/").status_code == 403


def test_the_dashboard_shows_figures_and_hides_names_from_trainers() -> None:
    project, person, _ = preference(overlap=2)
    for judge in (person, factories.member(project, username="somebody-else")):
        while assignment := queue.lease_next(project, judge):
            judging.submit(assignment.task, judge, {"choice": "a", "strength": 2}, seconds=5)
    manager = signed_in(factories.member(project, Role.MANAGER))
    html = manager.get(f"/projects/{project.slug}/").content.decode()
    assert "somebody-else" in html and "<dt>Judgments</dt>" in html
    assert html.count("A better") == 1 and "wins 100% of the decided ones" in html
    html = signed_in(factories.member(project, Role.TRAINER)).get(f"/projects/{project.slug}/").content.decode()
    assert "somebody-else" not in html and "Import" not in html.split("<main")[0].split('class="acts"')[1]


@pytest.mark.parametrize("kind", ["demonstration", "ranking", "rating", "preference"])
def test_every_kind_has_a_dashboard_a_settings_page_and_a_judging_page(kind: str) -> None:
    project = factories.project(kind=kind)
    factories.task(project)
    client = signed_in(factories.admin())
    for path in ("", "settings/", "people/", "import/", "work/"):
        assert client.get(f"/projects/{project.slug}/{path}").status_code == 200, path


def test_settings_change_what_is_asked() -> None:
    project, _, _ = preference()
    client = signed_in(factories.member(project, Role.MANAGER))
    sent = {
        "name": "Renamed", "question": "", "overlap": "3", "lease_minutes": "20", "order": "given", "daily_goal": "50",
        "aspect-0-label": "Kind to the reader", "aspect-0-required": "on",
        "flag-0-name": "unsafe", "flag-0-label": "Unsafe",
        "rationale": "required", "skip_reasons": "No idea\nOther", "tie": "on",
    }  # fmt: skip
    usual = b'placeholder="Which response is better?"'
    assert usual in client.get(f"/projects/{project.slug}/settings/").content
    assert client.post(f"/projects/{project.slug}/settings/", sent).status_code == 302
    project.refresh_from_db()
    assert (project.name, project.overlap, project.lease_minutes, project.daily_goal) == ("Renamed", 3, 20, 50)
    assert project.questions["aspects"] == [
        {"name": "kind_to_the_reader", "label": "Kind to the reader", "required": True}
    ]
    assert (project.questions["rationale"], project.questions["both_bad"]) == ("required", False)
    assert project.questions["skip_reasons"] == ["No idea", "Other"]
    answer = client.post(f"/projects/{project.slug}/settings/", sent | {"skip_reasons": ""})
    assert answer.status_code == 422 and b"1 to 9 reasons" in answer.content
    twice = client.post(f"/projects/{project.slug}/settings/", sent | {"aspect-1-label": "kind to the Reader"})
    assert twice.status_code == 422 and b"<p>Aspect 2: kind to the Reader is asked twice.</p>" in twice.content


def test_two_leads_who_change_the_settings_at_once_are_told_of_each_other() -> None:
    project, _, _ = preference()
    client = signed_in(factories.member(project, Role.MANAGER))
    page = client.get(f"/projects/{project.slug}/settings/")
    fields = {name: page.context["form"][name].value() for name in FIELDS} | {"rationale": "optional"}
    mine = fields | {"skip_reasons": "Unclear", "seen": page.context["seen"], "daily_goal": 70, "overlap": 4}
    projects.change(project, by=factories.admin(), overlap=3, lease_minutes=30)  # somebody else's
    answer = client.post(f"/projects/{project.slug}/settings/", mine)
    assert answer.status_code == 409 and "Overlap is 3 now" in answer.content.decode()
    form = answer.context["form"]
    assert [form[name].value() for name in ("overlap", "lease_minutes", "daily_goal")] == [4, 30, 70]
    assert Project.objects.get(pk=project.pk).daily_goal == 0
    again = mine | {"seen": answer.context["seen"], "lease_minutes": 30}
    for _ in range(2):  # a double click is no conflict with oneself
        assert client.post(f"/projects/{project.slug}/settings/", again).status_code == 302
    project.refresh_from_db()
    assert (project.overlap, project.lease_minutes, project.daily_goal) == (4, 30, 70)
    assert [project.write_guidelines("Theirs.").number for _ in range(2)] == [1, 1]  # as by a double click
    answer = client.post(f"/projects/{project.slug}/guidelines/", {"text": "Mine.", "seen": "0"})
    assert answer.status_code == 409 and "Mine." in answer.content.decode() and project.guideline.text == "Theirs."


def test_guidelines_are_versions() -> None:
    project, _, _ = preference()
    client = signed_in(factories.member(project, Role.MANAGER))
    for text in ("First.", "Second.", "Second."):
        client.post(f"/projects/{project.slug}/guidelines/", {"text": text})
    assert list(project.guideline_versions.order_by("number").values_list("text", flat=True)) == ["First.", "Second."]


def test_people_are_added_moved_and_removed_but_the_last_manager_stays() -> None:
    project, _, _ = preference()
    manager = factories.member(project, Role.MANAGER)
    client, base = signed_in(manager), f"/projects/{project.slug}/people/"
    factories.user("newcomer")
    assert client.post(f"{base}add/", {"username": "newcomer", "role": "annotator"}).status_code == 302
    assert client.post(f"{base}add/", {"username": "newcomer", "role": "reviewer"}).status_code == 422
    assert client.post(f"{base}add/", {"username": "nobody-such", "role": "reviewer"}).status_code == 422
    joined = project.memberships.get(user__username="newcomer")
    client.post(f"{base}{joined.pk}/role/", {"role": "reviewer"})
    assert project.memberships.get(pk=joined.pk).role == Role.REVIEWER
    client.post(f"{base}{joined.pk}/remove/")
    own = project.memberships.get(user=manager)
    client.post(f"{base}{own.pk}/remove/")
    client.post(f"{base}{own.pk}/role/", {"role": "annotator"})
    assert not project.memberships.filter(pk=joined.pk).exists()
    assert project.memberships.get(pk=own.pk).role == Role.MANAGER


def test_simulated_raters_are_marked() -> None:
    project, person, _ = preference()
    User.objects.filter(pk=person.pk).update(is_simulated=True)
    assignment = queue.lease_next(project, person)
    assert assignment is not None
    judging.submit(assignment.task, person, {"choice": "a", "strength": 1})
    manager = signed_in(factories.member(project, Role.MANAGER))
    for path in ("", "people/"):
        assert b">Simulated</span>" in manager.get(f"/projects/{project.slug}/{path}").content


def test_an_export_streams_and_a_wrong_type_is_a_message() -> None:
    project, person, _ = preference(tasks=1)
    assignment = queue.lease_next(project, person)
    assert assignment is not None
    judging.submit(assignment.task, person, {"choice": "a", "strength": 1})
    client = signed_in(factories.member(project, Role.MANAGER))
    answer = client.get(f"/projects/{project.slug}/export/?type=preference&format=jsonl")
    assert b'"chosen"' in b"".join(answer.streaming_content)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{project.slug}-preference.jsonl"'
    assert client.get(f"/projects/{project.slug}/export/?type=ranking").url == f"/projects/{project.slug}/"


def test_my_work_lists_ones_own_answers_only() -> None:
    project, person, client = preference()
    other = factories.member(project)
    for judge, choice in ((person, "a"), (other, "b")):
        assignment = queue.lease_next(project, judge)
        assert assignment is not None
        judging.submit(assignment.task, judge, {"choice": choice, "strength": 3})
    html = client.get("/my-work/").content.decode()
    assert "A much better" in html and "B much better" not in html


def test_pages_that_do_not_exist_look_like_ours() -> None:
    _, _, client = preference()
    answer = client.get("/projects/none-such/")
    assert answer.status_code == 404 and b"There is nothing here" in answer.content


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_a_template_makes_a_project_that_can_be_looked_at_before_anybody_judges(name: str) -> None:
    template = TEMPLATES[name]
    client = signed_in(factories.admin())
    client.post("/projects/new/", {"name": "Ready", "start": f"template:{name}"})
    made = Project.objects.get()
    assert (made.kind, made.overlap, made.question) == (template.kind, template.overlap, template.question)
    assert made.guideline and made.guideline.text == template.guidelines
    assert made.questions == check_questions(template.kind, template.questions)
    html = client.get(f"/projects/{made.slug}/settings/preview/").content.decode()
    assert template.question in html and "judge.mjs" not in html and "liter of oil" in html
    assert all(aspect["label"] in html for aspect in made.questions.get("aspects", []))


def test_the_settings_form_sends_back_all_that_a_project_asks() -> None:
    """What a project asks survives a visit to its settings, whatever was set by the API before."""
    for name, template in TEMPLATES.items():
        asked = questions_of(Project(kind=template.kind, questions=check_questions(template.kind, template.questions)))
        context = question_form.rows(template.kind, asked)
        sent = QueryDict(mutable=True)
        for what in ("aspect", "flag", "reason", "highlight"):
            for number, row in enumerate(context[f"{what}s"]):
                for part, value in row.items():
                    if value not in (None, False):
                        sent[f"{what}-{number}-{part}"] = str(value)
        sent["rationale"], sent["skip_reasons"] = asked["rationale"], context["skip_reasons"]
        for switch in ("tie", "both_bad", "improve"):
            if asked[switch]:
                sent[switch] = "on"
        again = check_questions(template.kind, question_form.read(template.kind, sent))
        assert again == asked, name


def test_a_browser_gets_pages_compressed_and_a_program_its_export_as_it_is() -> None:
    project, _, client = preference()
    plain = client.get(work(project))
    packed = client.get(work(project), headers={"Accept-Encoding": "gzip"})
    assert packed["Content-Encoding"] == "gzip" and len(packed.content) < min(10_000, len(plain.content) / 2)
    lead = signed_in(factories.member(project, Role.MANAGER))
    path = f"/api/v1/projects/{project.slug}/export/?type=raw&format=jsonl"
    assert "Content-Encoding" not in lead.get(path, headers={"Accept-Encoding": "gzip"})


def test_a_monitor_may_ask_for_the_head_alone() -> None:
    answers = [Client().head(path) for path in ("/healthz", "/readyz")]
    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b""), (503, b"")]  # no worker here
    assert Client().post("/healthz").status_code == 405
