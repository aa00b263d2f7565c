"""The documentation's examples are run, not believed."""

import json
import re
from pathlib import Path

import pytest

from training import runfile

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: json.loads(text)["kind"])
def test_every_run_file_in_the_documentation_is_accepted(text: str, tmp_path: Path) -> None:
    data = json.loads(text)
    runfile.check(data, root=tmp_path)


def test_the_engines_page_names_every_kind_of_run_and_shows_one() -> None:
    page = (ROOT / "docs" / "training.md").read_text()
    assert [kind for kind in runfile.PARAMS if f"| `{kind}` |" not in page] == []
    assert {json.loads(text)["kind"] for text in EXAMPLES} == set(runfile.PARAMS)


def test_the_annotators_page_names_every_template_and_every_question_setting() -> None:
    from annotation.questions import default_questions
    from annotation.templates import TEMPLATES

    page = (ROOT / "docs" / "annotating.md").read_text()
    assert [name for name in TEMPLATES if f"| `{name}` |" not in page] == []
    assert [name for name in default_questions("preference") if f"`{name}`" not in page] == []
