"""Static files as they are served: compressed, cached for ever under names with a hash, scripts' imports included."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage

IMPORT = (r"""(?P<matched>\bfrom\s*'(?P<url>\./[^']+)')""", "from '%(url)s'")


class HashedStaticFiles(CompressedManifestStaticFilesStorage):
    """Names with a hash in the modules' imports too.

    A module imported under its plain name beside the page's hashed one would run twice, and so would each of its keys.
    """

    patterns = (*CompressedManifestStaticFilesStorage.patterns, ("*.mjs", (IMPORT,)))
    max_post_process_passes = 12  # one for each import on the longest way from a page to its last module
