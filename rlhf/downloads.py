"""A snapshot as one download, for the page and the API."""

from __future__ import annotations

from django.http import Http404, StreamingHttpResponse

from annotation import saved_datasets
from rlhf import snapshot_files
from rlhf.models import Snapshot


def whole(row: Snapshot) -> StreamingHttpResponse:
    """The whole folder in one zip, streamed; the same snapshot gives the same bytes."""
    if not row.folder.is_dir():
        raise Http404
    name = f"{row.name}-v{row.version}"
    paths = [row.folder / one for one in snapshot_files.FILES if (row.folder / one).is_file()]
    archive = saved_datasets.zipped(((path.name, snapshot_files.pieces(path)) for path in paths), name)
    response = StreamingHttpResponse(archive, content_type="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.zip"'
    return response
