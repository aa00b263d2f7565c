"""One snapshot: what is in it, how it was cut, what used it, and its files."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import pyarrow.parquet as parquet
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext, gettext_noop, ngettext
from django.views.decorators.http import require_GET

from annotation.access import project_for
from annotation.models.people import READS_DATA, TRAINS
from annotation.shell import PersonRequest, signed_in
from rlhf import downloads, figures, recipe_words, snapshot_files, withdrawn
from rlhf.family import family_of_snapshot
from rlhf.models import Snapshot
from rlhf.push_form import hub_card
from rlhf.snapshot_files import FILES
from rlhf.views.datasets import described

SPLITS = {"train": gettext_noop("Train"), "eval": gettext_noop("Held out")}
ROWS = 8
MAX_TEXT = 2000  # characters of a cell


@require_GET
@signed_in
def snapshot(request: PersonRequest, slug: str, pk: int) -> HttpResponse:
    """One snapshot and a page of its rows."""
    row = find_snapshot(request, slug, pk)
    part = request.GET.get("part") if request.GET.get("part") in SPLITS else "train"
    rows = _rows(row, str(part), request.GET.get("page", "1"))
    manifest = snapshot_files.head(row.folder)
    card = row.folder / "README.md"
    context = {
        "project": row.project,
        "snapshot": row,
        "described": described(row),
        "simulated": figures.simulated_words(row.simulated_share),
        "family": family_of_snapshot(row),
        "recipe": recipe_words.lines(row.recipe),
        "manifest": manifest,
        "statistics": _statistics(manifest.get("statistics") or {}),
        "annotations_used": row.counts.get("annotations") or 0,
        "files": [
            {"name": name, "size": (row.folder / name).stat().st_size}
            for name in FILES
            if (row.folder / name).is_file()
        ],
        "card": _body(card.read_text("utf-8")) if card.is_file() else "",
        "runs": row.runs.select_related("model", "project")[:12],
        "part": part,
        "parts": [{"value": value, "label": gettext(label)} for value, label in SPLITS.items()],
        **rows,
        "others": Snapshot.objects.filter(project=row.project, type=row.type, pk__lt=row.pk)[:5],
        "retrain": withdrawn.made_from([row]) if row.withdrawn else [],
        "may_train": row.project.my_role in TRAINS,
        **hub_card(row),
    }
    if request.headers.get("HX-Target") == "rows":
        return render(request, "rlhf/_rows.html", context)
    return render(request, "rlhf/snapshot.html", context)


@require_GET
@signed_in
def snapshot_file(request: PersonRequest, slug: str, pk: int, name: str) -> FileResponse:
    """One file of the snapshot, byte for byte as its manifest lists it."""
    path = find_snapshot(request, slug, pk).folder / name
    if name not in FILES or not path.is_file():
        raise Http404
    return FileResponse(path.open("rb"), as_attachment=True, filename=name)


@require_GET
@signed_in
def download_snapshot(request: PersonRequest, slug: str, pk: int) -> StreamingHttpResponse:
    """The whole folder in one archive, streamed; the same snapshot gives the same bytes."""
    return downloads.whole(find_snapshot(request, slug, pk))


def find_snapshot(request: PersonRequest, slug: str, pk: int) -> Snapshot:
    """The snapshot, for those who may read the project's data; 404 for everybody else."""
    project = project_for(request.user, slug, READS_DATA)
    row = get_object_or_404(Snapshot.objects.filter(project=project).select_related("created_by"), pk=pk)
    row.project = project
    return row


def _rows(row: Snapshot, part: str, page: str) -> dict[str, Any]:
    """One page of the rows as a trainer reads them; reads only the row groups that hold it."""
    path = row.folder / f"{part}.parquet"
    if not path.is_file():
        return {"records": [], "columns": [], "page": 1, "pages": 1}
    with parquet.ParquetFile(path) as file:
        count = file.metadata.num_rows
        pages = max(1, -(-count // ROWS))
        number = min(max(int(page), 1), pages) if page.isdecimal() else 1
        first = (number - 1) * ROWS
        records: list[dict[str, Any]] = []
        seen = 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if seen + size > first and seen < first + ROWS:
                table = file.read_row_group(group).slice(max(first - seen, 0), ROWS - len(records))
                records += table.to_pylist()
            seen += size
        columns = [name for name in file.schema_arrow.names if name not in ("task_id", "ranks")]
    for record in records:
        record |= {"responses": {"places": by_place(record)}} if "ranks" in record else {}
    shown = [[_cell(record.get(name)) for name in columns] for record in records]
    return {"records": shown, "columns": [_column(name) for name in columns], "page": number, "pages": pages}


def by_place(record: dict[str, Any]) -> list[tuple[float, str]]:
    """The answers of a ranking with their places, the best first; of any other row nothing."""
    return sorted(zip(record.get("ranks", ()), record.get("responses", ()), strict=True), key=itemgetter(0))


def _cell(value: Any) -> dict[str, Any]:
    """A cell as text: a conversation by its last message, with the earlier ones counted."""
    if isinstance(value, dict):
        return {"places": [(f"{place:g}", text[:MAX_TEXT]) for place, text in value["places"]]}
    if isinstance(value, list):
        last = str(value[-1]["content"]) if value else ""
        earlier = len(value) - 1
        return {
            "text": last[:MAX_TEXT],
            "note": ngettext("after %(count)s earlier message", "after %(count)s earlier messages", earlier)
            % {"count": earlier}
            if earlier > 0
            else "",
        }
    if isinstance(value, bool):
        return {"number": gettext("yes") if value else gettext("no")}
    if isinstance(value, float):
        return {"number": f"{value:.2f}"}
    return {"number": "" if value is None else str(value)}


def _column(name: str) -> dict[str, Any]:
    return {
        "label": name.replace("_", " ").capitalize(),
        "is_text": name in ("prompt", "chosen", "rejected", "completion", "responses"),
    }


def _statistics(told: dict[str, Any]) -> list[tuple[str, str]]:
    """Agreement, how the work was shared out and biases, as far as they were counted."""
    found = []
    if (alpha := told.get("alpha")) is not None:
        found.append((gettext("Agreement, α"), f"{alpha:.2f}"))
    shares = {"mean_agreement": gettext("Votes for the outcome"), "most_by_one": gettext("Most by one person")}
    found += [(label, f"{told[key]:.0%}") for key, label in shares.items() if told.get(key) is not None]
    sides = {"first_shown_wins": gettext("First shown wins"), "longer_wins": gettext("Longer wins")}
    found += [
        (label, gettext("%(share)s of %(all)s") % {"share": f"{side['share']:.1%}", "all": f"{side['n']:,}"})
        for key, label in sides.items()
        if (side := told.get(key))
    ]
    if (length := told.get("mean_characters")) is not None:
        found.append((gettext("Mean length"), gettext("%(number)s characters") % {"number": f"{length:,.0f}"}))
    return found


def _body(text: str) -> str:
    """A dataset card without the YAML at its top."""
    return text.split("\n---\n", 1)[1] if text.startswith("---\n") and "\n---\n" in text else text
