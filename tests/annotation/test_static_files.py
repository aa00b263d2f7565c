"""What a page loads: each module once, under the name that browsers may keep for ever."""

import re
import shutil
from pathlib import Path
from typing import Any

from django.conf import settings

from annotation.static_files import HashedStaticFiles


def test_modules_import_each_other_by_their_hashed_names(tmp_path: Path) -> None:
    shutil.copytree(settings.BASE_DIR / "static" / "js", tmp_path / "js")
    storage: Any = HashedStaticFiles(location=str(tmp_path), base_url="/static/")
    storage.compress_files = lambda paths: []  # what is imported is in the plain file
    plain = {f"js/{path.name}": (storage, f"js/{path.name}") for path in (tmp_path / "js").glob("*.mjs")}
    for name, _, processed in storage.post_process(plain):
        assert not isinstance(processed, Exception), name
    assert set(storage.hashed_files) == set(plain)
    imported = {
        name: re.findall(r"from '\./([^']+)'", (tmp_path / hashed).read_text())
        for name, hashed in storage.hashed_files.items()
    }
    assert len(imported["js/judge.mjs"]) > 8
    assert {f"js/{name}" for names in imported.values() for name in names} <= set(storage.hashed_files.values())
