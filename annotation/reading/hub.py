"""A dataset of the Hugging Face hub by its name: the Parquet files that the hub keeps of it, copied and read here.

The hub converts nearly every public dataset to Parquet, so no code of a dataset is run and `datasets` is not needed.
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
from pathlib import Path
from typing import Any

from annotation.cleaning import CleaningError
from annotation.reading import arrow
from annotation.reading.archives import UnreadableFile

PREFIX = "hf:"
NAME = re.compile(r"hf:([\w.-]{1,96}/[\w.-]{1,96})(?::([\w.-]{1,96}))?(?::([\w.-]{1,96}))?")
SECONDS = 60
HELP = "hf:OWNER/NAME, hf:OWNER/NAME:SPLIT or hf:OWNER/NAME:CONFIG:SPLIT"


def is_name(source: object) -> bool:
    return isinstance(source, str) and source.startswith(PREFIX)


def read(source: str) -> Iterator[tuple[int, dict[str, Any] | CleaningError]]:
    """The rows of one split, or of all splits with the split's name in each row's metadata."""
    number = 0
    for split, url, many in _files(source):
        with tempfile.NamedTemporaryFile(prefix="hone-hub-", suffix=".parquet") as copy:
            with _opened(url) as answer:
                shutil.copyfileobj(answer, copy, 1 << 20)
            copy.flush()
            for _, row in arrow.read_parquet(Path(copy.name)):
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
    with _opened(f"{_endpoint()}/api/datasets/{name}/parquet") as answer:
        try:
            listed = json.load(answer)
            configs = {
                config: {split: list(urls) for split, urls in splits.items()} for config, splits in listed.items()
            }
        except (ValueError, AttributeError, TypeError):
            raise UnreadableFile(f"The hub's answer about {name} cannot be read.") from None
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
        reasons = {401: "it is private or needs a token (HF_TOKEN)", 403: "access to it was not granted"}
        why = reasons.get(error.code, "there is no such dataset, or the hub has no Parquet of it")
        raise UnreadableFile(f"The hub does not give this dataset (status {error.code}): {why}.") from None
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise UnreadableFile(f"The hub cannot be reached ({str(reason)[:100]}); import a file instead.") from None


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT).rstrip("/")
