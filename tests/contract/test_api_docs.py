"""The API's documentation page: all that the schema says, made once a process, with nothing of anybody else's."""

import json
import re

import pytest
from drf_spectacular.generators import SchemaGenerator

from config import api_docs, operations
from tests.contract.program import API

pytestmark = pytest.mark.django_db
PAGE = f"{API}/docs/"


@pytest.fixture(scope="module")
def schema():
    return SchemaGenerator().get_schema(request=None, public=True)


@pytest.fixture(scope="module")
def told(schema):
    return {one.id: one for subject in operations.subjects(schema) for one in subject.operations}


def test_every_operation_of_the_schema_is_on_the_page_once(client, schema):
    page = client.get(PAGE).content.decode()
    for path, methods in schema["paths"].items():
        for method, one in methods.items():
            name, first_line = one["operationId"], one["description"].partition("\n")[0]
            assert page.count(f'id="{name}"') == 1
            summary = page.partition(f'id="{name}"')[2].partition("</summary>")[0]
            assert f">{method.upper()}</b>" in summary and f">{path}</h3>" in summary and first_line[:9] in summary
    assert "$ref" not in page and "#/components" not in page


def test_every_parameter_field_and_answer_is_with_its_operation(schema, told):
    parts = schema["components"]["schemas"]
    for methods in schema["paths"].values():
        for one in methods.values():
            read = told[one["operationId"]]
            assert {field.name for field in read.parameters} == {given["name"] for given in one.get("parameters", ())}
            assert [answer.status for answer in read.answers] == [key for key in one["responses"] if key != "default"]
            for content in one.get("requestBody", {}).get("content", {}).values():
                part = parts.get(content["schema"].get("$ref", "").rpartition("/")[2], {})
                writable = {name for name, field in part.get("properties", {}).items() if not field.get("readOnly")}
                assert writable <= {field.name for field in read.body.fields}


def test_what_only_comes_back_is_not_asked_for(told):
    made = told["projects_create"]
    sent = {field.name: field for field in made.body.fields}
    back = {field.name: field for field in made.answers[0].body.fields}
    assert "created_at" in back and "created_at" not in sent
    assert sent["name"].required and not sent["overlap"].required
    assert json.loads(re.findall(r"-d '(.+)'", made.curl)[0]) == {"name": "…"}


def test_a_field_tells_its_type_its_limits_its_choices_and_what_is_inside(told):
    fields = {field.name: field for field in told["projects_create"].body.fields}
    assert (fields["overlap"].type, fields["overlap"].limits) == ("integer", "1 to 10")
    assert ("queue", "Back to the queue") in fields["skip_to"].choices
    assert ("preference", "") in fields["kind"].choices  # words that say no more than the value are left out
    assert fields["skip_to"].help == "Where a task goes that skip_limit people have skipped."
    after = next(field for field in told["runs_log"].parameters if field.name == "after")
    assert (after.type, after.limits) == ("integer", "at least 0, 0 when left out")
    assert told["runs_log"].first_line.startswith("The lines of its log behind the first after,")  # no backticks
    submitted = {field.name: field for field in told["tasks_annotations_create"].answers[0].body.fields}
    assert submitted["next"].type == "object or null"
    assert "prompt" in {field.name for field in submitted["next"].inside}


def test_an_example_names_the_method_the_token_and_what_must_be_sent(told):
    assert told["projects_list"].curl == 'curl "$HONE/api/v1/projects/" \\\n  -H "Authorization: Bearer $TOKEN"'
    assert told["projects_members_destroy"].curl.startswith("curl -X DELETE ")
    assert told["projects_next_create"].curl.startswith('curl -X POST "$HONE/api/v1/projects/SLUG/next/"')
    assert told["projects_import_create"].curl.endswith(" -F file=@FILE")


def test_the_page_is_open_to_all_and_made_once_a_process(client, monkeypatch):
    client.get(PAGE)
    monkeypatch.setattr(api_docs, "SchemaGenerator", None)  # whoever makes the schema again fails
    again = client.get(PAGE)
    assert again.status_code == 200
    assert again["Content-Type"].startswith("text/html")
    assert client.post(PAGE).status_code == 405


def test_the_page_has_no_inline_style_and_no_script_but_our_own(client):
    page = client.get(PAGE).content.decode()
    assert "<style" not in page
    assert all(source.startswith("/static/") for source in re.findall(r'<script[^>]* src="([^"]+)"', page))
    assert not re.findall(r"<script(?![^>]* src=)(?![^>]*application/json)", page)
    assert f'href="{API}/schema/"' in page
