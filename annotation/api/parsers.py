"""Request bodies: strict JSON in memory, and records spooled to a file without being read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.utils.translation import gettext
from rest_framework.parsers import BaseParser, DataAndFiles

from annotation.api.problems import TooLarge
from annotation.cleaning import strict_json

LARGEST_IMPORT = 4 * 1024**3  # bytes
PIECE = 1024 * 1024


class StrictJSONParser(BaseParser):
    """One JSON value, refused when it holds what JSON forbids or the databases cannot store."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, context: Mapping[str, Any] | None = None) -> Any:
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        data = stream.read(most + 1)
        if len(data) > most:
            raise TooLarge(gettext("The body is larger than %(most)s MB.") % {"most": most // 1024**2})
        return strict_json(data)


class _RecordsParser(BaseParser):
    """A body of records, kept on disk as if it had been sent as a file: imports may be larger than memory."""

    suffix = ""

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, context: Mapping[str, Any] | None = None
    ) -> DataAndFiles[Any, Any]:
        upload = TemporaryUploadedFile(f"records{self.suffix}", self.media_type or "", 0, None)
        size = 0
        while piece := stream.read(PIECE):
            upload.write(piece)
            size += len(piece)
            if size > LARGEST_IMPORT:
                upload.close()
                raise TooLarge(gettext("An import may have at most 4 GB."))
        upload.size = size
        upload.seek(0)
        return DataAndFiles({}, {"file": upload} if size else {})


class JSONRecordsParser(_RecordsParser):
    media_type = "application/json"
    suffix = ".json"


class JSONLinesParser(_RecordsParser):
    media_type = "application/x-ndjson"
    suffix = ".jsonl"
