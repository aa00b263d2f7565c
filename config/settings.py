"""Hone's only settings file. What differs between machines comes from the environment (docs/settings.md)."""

import sqlite3
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from config import environment, languages

BASE_DIR = Path(__file__).resolve().parent.parent
HONE_DATA = environment.data_folder(BASE_DIR)

SECRET_KEY = environment.secret_key(HONE_DATA)
DEBUG = environment.flag("DEBUG")
ALLOWED_HOSTS = environment.names("ALLOWED_HOSTS", ["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = environment.names("CSRF_TRUSTED_ORIGINS", [])
HONE_MAX_RUNS = environment.number("HONE_MAX_RUNS", 1, least=1)  # training runs at a time on this machine

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_tasks",
    "django_tasks_db",
    "rest_framework",
    "drf_spectacular",
    "annotation",
    "rlhf",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "config.security.ContentSecurityPolicy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.compression.CompressedPages",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "config.pages.messages",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.pages.htmx",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "annotation.shell.shell",
            ],
        },
    },
]

SQLITE_OPTIONS = {
    # A read that later writes must take the write lock at once: 690 of 800 such transactions fail without it.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    # Larger pages take an eighth less of an import's time; a database that is there keeps those it was made with.
    "init_command": (
        "PRAGMA page_size=8192; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA mmap_size=0; "
        "PRAGMA foreign_keys=ON;"
    ),
}


def database(url: str) -> dict[str, object]:
    """The database that DATABASE_URL names: PostgreSQL, or SQLite (the default) in HONE_DATA."""
    if not url:
        url = f"sqlite:///{HONE_DATA / 'hone.sqlite3'}"
    if not url.startswith(("sqlite:", "postgres:", "postgresql:")):
        raise ImproperlyConfigured("DATABASE_URL must start with sqlite:// or postgresql://.")
    parsed = dict(dj_database_url.parse(url, conn_max_age=60))
    if url.startswith("sqlite:"):
        if sqlite3.sqlite_version_info < (3, 35):
            raise ImproperlyConfigured(f"SQLite 3.35 or newer is needed, this is {sqlite3.sqlite_version}.")
        parsed["OPTIONS"] = SQLITE_OPTIONS
    else:
        parsed |= {"ENGINE": "config.postgresql", "CONN_HEALTH_CHECKS": True}
        # The statements of annotation/prepared.py are prepared from the second time on; Django's own never are.
        given: Any = parsed.get("OPTIONS") or {}
        parsed["OPTIONS"] = {"prepare_threshold": 1, **given}
    return parsed


HF_TOKEN = environment.text("HF_TOKEN")  # pushes snapshots to the hub; without it nothing is sent anywhere
DATABASES = {"default": database(environment.text("DATABASE_URL"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "annotation.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "annotation:login"
LOGIN_REDIRECT_URL = "annotation:home"
LOGOUT_REDIRECT_URL = "annotation:login"

LANGUAGE_CODE = "en"
LOCALE_PATHS = [BASE_DIR / "locale"]
# A browser that asks for any other language gets whole English pages, not English ones with Django's words in its own.
LANGUAGES = languages.available(LOCALE_PATHS[0])
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = HONE_DATA / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": HONE_DATA / "uploads"},
    },
    "staticfiles": {"BACKEND": "annotation.static_files.HashedStaticFiles"},
}

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
HTTPS = environment.flag("HONE_HTTPS")  # set behind a proxy that ends TLS
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

DATA_UPLOAD_MAX_MEMORY_SIZE = 16 * 1024 * 1024
FILE_UPLOAD_TEMP_DIR = HONE_DATA / "uploads"

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "annotation.api.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["annotation.api.parsers.StrictJSONParser", "rest_framework.parsers.MultiPartParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "annotation.api.negotiation.Negotiation",
    "DEFAULT_PAGINATION_CLASS": "annotation.api.pagination.Cursor",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "annotation.api.problems.handler",
    "URL_FORMAT_OVERRIDE": None,  # `?format=` is the export's own
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Hone",
    "DESCRIPTION": "Judgements in, better models out. Errors are application/problem+json.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "KindEnum": "annotation.models.projects.Kind",
        "RoleEnum": "annotation.models.people.Role",
        "RunKindEnum": "rlhf.models.runs.Run.Kind",
        "RunStateEnum": "rlhf.models.runs.Run.State",
        "ModelRoleEnum": "rlhf.models.models.Model.Role",
        "ModelStateEnum": "rlhf.models.models.Model.State",
        "RoundStateEnum": "rlhf.models.rounds.Round.State",
        "CutStateEnum": "rlhf.models.cuts.Cut.State",
        "PushStateEnum": "rlhf.models.pushes.Push.State",
        "ImportStateEnum": "annotation.models.projects.ImportJob.State",
        "TemplateEnum": "training.runfile.TEMPLATES",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "config.api_docs.add_problems",
    ],
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
