"""A dataset of the Hugging Face hub by its name: the Parquet files that the hub keeps of it, copied and read here.

The hub converts nearly every public dataset to Parquet, so no code of a dataset is run and `datasets` is not needed. Of
one that it did not convert (most private ones), the data files of the repository itself are read.
The address, the token and the switch to stay offline are huggingface_hub's own (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE).
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from annotation import reading
from annotation.cleaning import CleaningError
from annotation.reading import UnreadableFile, arrow

PREFIX = "hf:"
NAME = re.compile(r"hf:([\w.-]{1,96}/[\w.-]{1,96})(?::([\w.-]{1,96}))?(?::([\w.-]{1,96}))?")
SECONDS = 60
HELP = "hf:OWNER/NAME, hf:OWNER/NAME:SPLIT or hf:OWNER/NAME:CONFIG:SPLIT"
# The first of these that a repository has holds its rows; its other files describe them.
DATA_FILES = tuple(
    re.compile(rf"[^/].*\.{ending}(\.gz)?", re.IGNORECASE) for ending in ("parquet", "jsonl", "csv", "tsv")
)
SPLIT = re.compile(r"(?:^|[^a-z])(train|test|validation|valid|val|dev|eval)(?:ing|uation)?(?:[^a-z]|$)", re.IGNORECASE)
WITHHELD = {401: "it is private or needs a token (HF_TOKEN)", 403: "access to it was not granted"}

Configs = dict[str, dict[str, list[str]]]  # {config: {split: [address of a file]}}


class _Refused(UnreadableFile):
    """The hub answered, with a status other than success."""

    def __init__(self, status: int) -> None:
        self.status = status
        why = WITHHELD.get(status, "there is no such dataset, or no file of rows in it")
        super().__init__(f"The hub does not give this dataset (status {status}): {why}.")


def is_name(source: object) -> bool:
    return isinstance(source, str) and source.startswith(PREFIX)


def read(source: str) -> Iterator[tuple[int, dict[str, Any] | CleaningError]]:
    """The rows of one split, or of all splits with the split's name in each row's metadata."""
    number = 0
    for split, url, many in _files(source):
        with tempfile.TemporaryDirectory(prefix="hone-hub-") as folder:
            copy = Path(folder) / PurePosixPath(unquote(urlsplit(url).path)).name
            with _opened(url) as answer, copy.open("wb") as file:
                shutil.copyfileobj(answer, file, 1 << 20)
            rows = arrow.read_parquet(copy) if copy.suffix.lower() == ".parquet" else reading.read(copy)
            for _, row in rows:
                number += 1
                if many and not isinstance(row, CleaningError):
                    own = row.get("metadata")
                    row = row | {"metadata": {"split": split} | (own if isinstance(own, dict) else {})}
                yield number, row
    if not number:
        raise UnreadableFile(f"{source} holds no records.")


def _files(source: str) -> Iterator[tuple[str, str, bool]]:
    match = NAME.fullmatch(source)
    if match is None:
        raise UnreadableFile(f"{source[:80]} is no dataset's name; write {HELP}.")
    name, *asked = match[1], match[2], match[3]
    try:
        configs = _converted(name)
    except _Refused as error:
        if error.status in WITHHELD:
            raise
        configs = _own_files(name)
    config, split = asked if asked[1] else (None, asked[0])
    if config is None:
        config = "default" if "default" in configs or not configs else next(iter(configs))
    splits = configs.get(config, {})
    if split is not None:
        splits = {split: splits[split]} if split in splits else {}
    if not splits:
        known = ", ".join(f"{one}:{part}" for one, parts in configs.items() for part in parts) or "nothing"
        raise UnreadableFile(f"{name} has no such part; the hub has {known[:200]}.")
    for part, urls in splits.items():
        for url in urls:
            yield part, str(url), len(splits) > 1


def _converted(name: str) -> Configs:
    """The Parquet files that the hub made of a dataset."""
    listed = _told(f"/api/datasets/{name}/parquet", name)
    try:
        return {config: {split: list(urls) for split, urls in splits.items()} for config, splits in listed.items()}
    except (AttributeError, TypeError):
        raise UnreadableFile(f"The hub's answer about {name} cannot be read.") from None


def _own_files(name: str) -> Configs:
    """The files of rows in the repository itself: configs by their folders, splits by the words in their names."""
    try:
        paths = [str(file["rfilename"]) for file in _told(f"/api/datasets/{name}", name)["siblings"]]
    except (KeyError, TypeError):
        raise UnreadableFile(f"The hub's answer about {name} cannot be read.") from None
    found: Configs = {}
    chosen = ([path for path in paths if pattern.fullmatch(path)] for pattern in DATA_FILES)
    for path in sorted(next((some for some in chosen if some), [])):
        folder, _, rest = path.rpartition("/")
        config = "default" if folder in ("", "data") else folder.replace("/", "-")
        word = SPLIT.search(rest)
        split = word[1].lower() if word else "train"
        url = f"{_endpoint()}/datasets/{name}/resolve/main/{quote(path)}"
        found.setdefault(config, {}).setdefault(split, []).append(url)
    return found


def _told(path: str, name: str) -> Any:
    """What the hub answers about a dataset."""
    with _opened(_endpoint() + path) as answer:
        try:
            return json.load(answer)
        except ValueError:
            raise UnreadableFile(f"The hub's answer about {name} cannot be read.") from None


def _opened(url: str) -> Any:
    import huggingface_hub  # only an import from the hub pays for loading it
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise UnreadableFile("The hub is switched off here (HF_HUB_OFFLINE); download the dataset and import its file.")
    if not url.startswith((_endpoint() + "/", "https://")):
        raise UnreadableFile("The hub points at a place that is not its own.")
    request = urllib.request.Request(url)  # noqa: S310  the scheme was checked above
    if url.startswith(_endpoint() + "/") and (token := huggingface_hub.get_token()):
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        return urllib.request.urlopen(request, timeout=SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        raise _Refused(error.code) from None
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise UnreadableFile(f"The hub cannot be reached ({str(reason)[:100]}); import a file instead.") from None


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT).rstrip("/")
