"""Environment variables, each read once, typed, and refused with one sentence when malformed."""

import errno
import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, default).strip()


def flag(name: str, default: bool = False) -> bool:
    value = os.environ.get(name)
    if value is None:
        return default
    if value.strip().lower() in TRUE:
        return True
    if value.strip().lower() in FALSE:
        return False
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {value!r}.")


def number(name: str, default: int, *, least: int = 0) -> int:
    value = os.environ.get(name)
    if value is None:
        return default
    try:
        parsed = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None
    if parsed < least:
        raise ImproperlyConfigured(f"{name} must be at least {least}, not {parsed}.")
    return parsed


def names(name: str, default: list[str]) -> list[str]:
    value = os.environ.get(name)
    if value is None:
        return default
    return [part.strip() for part in value.split(",") if part.strip()]


def data_folder(base: Path) -> Path:
    """The one folder for everything Hone writes, made with its parts when absent."""
    folder = Path(text("HONE_DATA") or base / "var").expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise ImproperlyConfigured(f"HONE_DATA must name a folder; {folder} is a file.")
    try:
        for part in ("", "runs", "models", "snapshots", "uploads", "cache", "static"):
            (folder / part).mkdir(parents=True, exist_ok=True)
            if not os.access(folder / part, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder / part))
    except OSError as error:
        problem = f"{error.filename} cannot be written to ({error.strerror})"
        raise ImproperlyConfigured(f"HONE_DATA must name a folder that Hone may write to; {problem}.") from None
    return folder


def secret_key(folder: Path) -> str:
    """SECRET_KEY from the environment, else one made on first use and kept readable by the owner alone."""
    if value := text("SECRET_KEY"):
        return value
    kept = folder / "secret_key"
    try:
        descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return kept.read_text().strip()
    with os.fdopen(descriptor, "w") as handle:
        handle.write(value := secrets.token_urlsafe(50))
    return value
