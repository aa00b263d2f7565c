"""Snapshots on the Hugging Face hub: the folder as it is, in a dataset repository of the token's owner."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.utils.translation import gettext

from rlhf.models import Snapshot
from rlhf.snapshot_files import FILES

REPOSITORY = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?", re.ASCII)


class HubError(ValueError):
    """The snapshot cannot be pushed; the message is one sentence."""


def check(snapshot: Snapshot, repository: str) -> None:
    """HubError says why this snapshot cannot be pushed there, as far as it shows without the hub."""
    if not settings.HF_TOKEN:
        raise HubError(gettext("Set HF_TOKEN to a token that may write datasets, and start Hone again."))
    if not REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
        raise HubError(
            gettext("%(repository)r is no name of a repository; use owner/name.") % {"repository": repository}
        )
    if not snapshot.folder.is_dir():
        raise HubError(
            gettext("The files of %(snapshot)s are gone, so there is nothing to push.") % {"snapshot": snapshot}
        )


def push(snapshot: Snapshot, repository: str, *, public: bool = False, api: Any = None) -> str:
    """Push the folder in one commit, to a private repository unless `public`, and give the address of the commit.

    Nothing is sent unless HF_TOKEN is set. The commit is tagged with the content hash, so that the very rows of a
    version can be asked for for ever.
    """
    check(snapshot, repository)
    if api is None:
        from huggingface_hub import HfApi  # only who pushes pays for loading it

        api = HfApi(token=settings.HF_TOKEN)
    try:
        made = api.create_repo(repo_id=repository, repo_type="dataset", private=not public, exist_ok=True)
        # A name without its owner is the token's owner's: the hub tells it whole.
        about: dict[str, Any] = {"repo_id": made.repo_id, "repo_type": "dataset"}
        message = f"{snapshot}, {snapshot.content_hash[:16]}"
        done = api.upload_folder(
            **about, folder_path=str(snapshot.folder), allow_patterns=list(FILES), commit_message=message
        )
        api.create_tag(**about, tag=snapshot.content_hash[:16], revision=done.oid, exist_ok=True)
    except Exception as error:  # the border: the hub's own errors, the network's, the disk's
        raise HubError(
            gettext("The hub did not take %(snapshot)s: %(reason)s") % {"snapshot": snapshot, "reason": _reason(error)}
        ) from None  # the hub's own errors carry the request, and the token with it
    return str(done.commit_url)


def _reason(error: Exception) -> str:
    """Why, in words without the token: what is told is kept and shown."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return gettext("it does not know the token; set HF_TOKEN to one that may write datasets.")
    if status == 403:
        return gettext("the token may not write there; give it the right to, or name another owner.")
    if isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.startswith("httpx"):
        return gettext("the hub cannot be reached; try again when there is a network.")
    said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return said.replace(settings.HF_TOKEN, "…")
