import select

import pytest
from django.db import connection, connections

from annotation.prepared import prepared_cursor
from tests import factories

pytestmark = pytest.mark.django_db


def test_a_statement_is_planned_once_and_its_values_are_never_part_of_it():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite's driver keeps statements by itself")
    slug = factories.project().slug
    question = "SELECT count(*) FROM annotation_project WHERE slug = %(slug)s"
    for value, found in ((slug, 1), ("' OR 1 = 1 --", 0), (slug, 1)):
        with prepared_cursor() as cursor:
            cursor.execute(question, {"slug": value})
            assert cursor.fetchone() == (found,)
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        kept = [statement for (statement,) in cursor.fetchall()]
    assert question.replace("%(slug)s", "$1") in kept


def test_a_connection_is_asked_for_only_where_the_server_said_something_unasked(monkeypatch):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no server")
    here, asked = connections["default"].copy(), []
    usable = here.is_usable
    monkeypatch.setattr(here, "is_usable", lambda: asked.append(1) or usable())
    here.connect()
    first, here.health_check_enabled, here.health_check_done = here.connection, True, False
    here.cursor().execute("SELECT 1")
    assert here.connection is first and not asked
    with connection.cursor() as other:
        other.execute("SELECT pg_terminate_backend(%s)", [first.info.backend_pid])
    assert select.select([first.fileno()], [], [], 30)[0]  # the farewell is there
    here.health_check_done = False
    here.cursor().execute("SELECT 1")
    assert here.connection is not first and asked
    here.close()
