import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from annotation.models import ApiToken, Membership, Project, Task, User
from tests import factories

pytestmark = pytest.mark.django_db


def run(*words: object, **options: Any) -> str:
    out = io.StringIO()
    call_command(*(str(word) for word in words), stdout=out, stderr=io.StringIO(), **options)
    return out.getvalue().strip()


def pairs(path: Path, number: int = 3, *more: object) -> Path:
    rows = [{"id": f"q{n}", "prompt": f"{n}?", "chosen": f"yes {n}", "rejected": "no"} for n in range(number)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *more]))
    return path


def test_import_tasks_says_in_one_object_what_came_in(tmp_path: Path) -> None:
    path = pairs(tmp_path / "pairs.jsonl")
    summary = json.loads(run("import_tasks", "new", path, "--create", "preference", "--metadata", "split=train"))
    assert (summary["read"], summary["created"], summary["annotations"], summary["applied"]) == (3, 3, 3, True)
    project = Project.objects.get(slug="new")
    assert project.tasks.first().metadata == {"split": "train"}
    assert json.loads(run("import_tasks", "new", path))["unchanged"] == 3


def test_import_tasks_fails_with_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    path = pairs(tmp_path / "pairs.jsonl", 2, {"prompt": "only"})
    for words, message in [
        (("nowhere", path), "There is no project nowhere; add --create KIND to make it."),
        (("new", path, "--create", "preference"), "Nothing was imported: one record is bad."),
        (("new", tmp_path / "none.csv", "--create", "preference"), "There is no file none.csv."),
        (("new", path, "--create", "preference", "--metadata", "split"), "--metadata takes KEY=VALUE"),
        (("New project", path, "--create", "preference"), "valid “slug”"),
    ]:
        with pytest.raises(CommandError, match=message):
            run("import_tasks", *words)
    assert not Project.objects.exists()
    assert json.loads(run("import_tasks", "new", path, "--create", "preference", "--skip-bad"))["bad_count"] == 1
    assert Task.objects.count() == 2


def test_import_tasks_reports_each_bad_line_on_the_error_stream(tmp_path: Path) -> None:
    factories.project(slug="here")
    errors = io.StringIO()
    with pytest.raises(CommandError):
        path = pairs(tmp_path / "pairs.jsonl", 1, {"prompt": "only"})
        call_command("import_tasks", "here", str(path), stderr=errors, stdout=io.StringIO())
    assert "line 2: responses: There are 0; a preference project takes 2 a prompt." in errors.getvalue()


def test_export_dataset_writes_the_file_it_names(tmp_path: Path) -> None:
    run("import_tasks", "new", pairs(tmp_path / "pairs.jsonl"), "--create", "preference")
    out = tmp_path / "out.parquet"
    run("export_dataset", "new", "--type", "preference", "--format", "parquet", "--out", out)
    assert pq.read_table(out).num_rows == 3
    with pytest.raises(CommandError, match="gives preference, binary, sft, raw"):
        run("export_dataset", "new", "--type", "rating", "--out", out)
    with pytest.raises(CommandError, match="cannot be written"):
        run("export_dataset", "new", "--out", tmp_path / "no" / "out.jsonl")
    with pytest.raises(CommandError, match="There is no project old"):
        run("export_dataset", "old")


def test_create_user_prints_a_password_that_works() -> None:
    project = factories.project(slug="here")
    password = run("create_user", "ada", "--role", "annotator", "--project", "here")
    ada = User.objects.get(username="ada")
    assert ada.check_password(password)
    assert Membership.objects.get(user=ada, project=project).role == "annotator"
    assert not ada.is_superuser
    run("create_user", "root", "--role", "admin")
    assert User.objects.get(username="root").is_superuser
    run("create_user", "ben", "--role", "trainer")
    assert not User.objects.get(username="ben").memberships.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ada", "--role", "annotator"), "already exists"),
        (("ben", "--role", "annotator", "--project", "nowhere"), "There is no project nowhere"),
        (("ben", "--role", "admin", "--project", "here"), "leave --project out"),
        (("ben", "--role", "king"), "invalid choice"),
        (("b e n", "--role", "reader"), "valid username"),
    ],
)
def test_create_user_fails_with_one_line(words: tuple[str, ...], message: str) -> None:
    factories.user("ada")
    with pytest.raises(CommandError, match=message):
        run("create_user", *words)


def test_create_token_prints_the_token_alone() -> None:
    ada = factories.user("ada")
    secret = run("create_token", "ada", "--scope", "read", "--days", "7")
    token = ApiToken.find(secret)
    assert token is not None
    assert (token.user, token.scope, "\n" in secret) == (ada, "read", False)
    for words, message in [(("bob",), "There is no account bob"), (("ada", "--days", "0"), "from 1 to 3650")]:
        with pytest.raises(CommandError, match=message):
            run("create_token", *words)


def test_a_setting_that_cannot_be_used_ends_a_command_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {**os.environ, "HONE_DATA": str(tmp_path / "file" / "data")}
    words = [sys.executable, "manage.py", "worker"]
    done = subprocess.run(words, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("HONE_DATA must name a folder that Hone may write to")


def test_import_tasks_loads_no_page_and_no_api_before_it_begins(tmp_path: Path) -> None:
    words = ["manage.py", "import_tasks", "nowhere", str(tmp_path / "none.jsonl")]
    program = f"""
import os, sys
from django.core.management import execute_from_command_line
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
try:
    execute_from_command_line({words!r})
finally:
    print(sorted({{"annotation.importing", "config.urls", "rest_framework.views"}} & sys.modules.keys()))
"""
    environment = {**os.environ, "HONE_DATA": str(tmp_path)}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["['annotation.importing']"]


@pytest.mark.parametrize("command", ["import_tasks", "export_dataset", "create_user", "create_token"])
def test_each_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command(command, "--help")
    assert f"manage.py {command} " in capsys.readouterr().out.partition("examples:")[2]
