import pytest
from django.db import connection

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
