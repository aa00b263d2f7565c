"""What surrounds every page: theme, the side bar with its counts, and the door for people who are signed out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.contrib.auth.views import redirect_to_login
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext, gettext_noop

from annotation import discussing, sizes
from annotation.models import Project, Role, User
from annotation.models.people import MANAGES, READS_DATA, SEES_NAMES

THEMES = ("auto", "light", "dark")
PROGRESS_SECONDS = 60  # the share done is a sum over all tasks, so it is remembered for a minute

P = ParamSpec("P")


@dataclass(frozen=True)
class Link:
    label: str
    href: str
    icon: str
    key: str = ""  # the letter after G
    current: bool = False
    count: str = ""
    extra: bool = False  # left out of the tab bar of a small screen


# name of the url, label, icon, letter after G, roles that see it, left out on a small screen
ENTRIES: tuple[tuple[str, str, str, str, tuple[str, ...], bool], ...] = (
    ("rlhf:loop", gettext_noop("Loop"), "loop", "l", READS_DATA, False),
    ("annotation:project", gettext_noop("Labeling"), "label", "p", READS_DATA, False),
    ("rlhf:datasets", gettext_noop("Datasets"), "data", "d", READS_DATA, False),
    ("rlhf:runs", gettext_noop("Runs"), "run", "r", READS_DATA, False),
    ("rlhf:models", gettext_noop("Models"), "models", "m", READS_DATA, False),
    ("annotation:review", gettext_noop("Adjudicate"), "scale", "a", SEES_NAMES, True),
    ("annotation:people", gettext_noop("People"), "people", "", MANAGES, True),
    ("annotation:settings", gettext_noop("Settings"), "settings", "", MANAGES, True),
)
# Pages that belong to an entry of the side bar, though they are not its own.
BELONGS = {
    "annotation:import": "annotation:project",
    "annotation:queue": "annotation:project",
    "annotation:import_job": "annotation:project",
    "annotation:adjudicate": "annotation:review",
    "annotation:judgments": "annotation:review",
    "annotation:pseudonymise": "annotation:people",
    "annotation:guideline_changes": "annotation:settings",
    "rlhf:new_round": "rlhf:loop",
    "rlhf:snapshot": "rlhf:datasets",
    "rlhf:new_snapshot": "rlhf:datasets",
    "rlhf:diff_snapshots": "rlhf:datasets",
    "rlhf:cut": "rlhf:datasets",
    "rlhf:data_lineage": "rlhf:datasets",
    "rlhf:run": "rlhf:runs",
    "rlhf:new_run": "rlhf:runs",
    "rlhf:model": "rlhf:models",
    "rlhf:model_lineage": "rlhf:models",
}

_counters: dict[str, Callable[[Project], str]] = {}


def count(url_name: str, counter: Callable[[Project], str]) -> None:
    """Show what `counter` says beside the entry `url_name`; another app registers its own when it is ready."""
    _counters[url_name] = counter


def progress(project: Project) -> str:
    """The share of the judgements wanted that are there, at most a minute old."""
    if (known := cache.get(f"progress:{project.pk}")) is not None:
        return str(known)
    size = sizes.of_each([project]).get(project.pk)
    share = f"{int(100 * size.share + 1e-9)}%" if size and size.counted else ""
    cache.set(f"progress:{project.pk}", share, PROGRESS_SECONDS)
    return share


count("annotation:project", progress)


class Shell:
    """The context variable `shell`; nothing is looked up before a template asks."""

    def __init__(self, request: HttpRequest) -> None:
        user = getattr(request, "user", None)
        self.person = user if isinstance(user, User) else None
        self.preferences: dict[str, Any] = self.person.preferences if self.person else {}
        cookie = request.COOKIES.get("theme") or self.preferences.get("theme")
        self.theme = cookie if cookie in THEMES else "auto"

    @property
    def user_id(self) -> int | str:
        return self.person.pk if self.person else ""

    @property
    def unread(self) -> int:
        """Comments that wait in this person's inbox."""
        return discussing.unread(self.person) if self.person else 0

    @property
    def single_keys(self) -> bool:
        return bool(self.preferences.get("single_keys", True))

    @property
    def one_key(self) -> bool:
        return bool(self.preferences.get("one_key", True))

    @property
    def differences(self) -> bool:
        return bool(self.preferences.get("differences", True))


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor: theme and this person's preferences."""
    return {"shell": Shell(request)}


class PersonRequest(HttpRequest):
    """The type of a request behind `signed_in`."""

    user: User


def signed_in(
    view: Callable[Concatenate[PersonRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """The view, for people who are signed in; a script is told 401 so that it can ask, others get the sign-in page."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if request.user.is_authenticated:
            return view(cast(PersonRequest, request), *args, **kwargs)
        if request.headers.get("HX-Request") or request.headers.get("X-Requested-With"):
            return HttpResponse(gettext("Sign in to go on."), status=401, content_type="text/plain")
        return redirect_to_login(request.get_full_path())

    return guarded


def side_bar(request: HttpRequest, project: Project | None) -> dict[str, Any]:
    """What the side bar shows to this person: the links of the project, everybody's own work, the other projects."""
    user = request.user
    if not isinstance(user, User):
        return {"shell": Shell(request), "person": None, "links": [], "work_links": []}
    if (kept := getattr(request, "_side_bar", None)) is not None:
        return dict(kept)
    projects = list(Project.objects.visible_to(user).filter(is_archived=False)[:50])
    project = _current(request, project, projects)
    roles = dict(user.memberships.values_list("project", "role"))
    role = (Role.MANAGER if user.is_superuser else roles.get(project.pk)) if project else None
    links = [link for entry in ENTRIES if project and role in entry[4] and (link := _link(request, project, *entry))]
    for other in projects:
        other.href = first_page(other, Role.MANAGER if user.is_superuser else roles[other.pk])  # type: ignore[attr-defined]
    work_links = [
        Link(gettext("My work"), reverse("annotation:my_work"), "check", "q", _name(request) == "annotation:my_work"),
    ]
    bar = {"shell": Shell(request), "person": user, "project": project, "projects": projects, "links": links}
    bar["work_links"] = work_links
    request._side_bar = bar  # type: ignore[attr-defined]
    return bar


def first_page(project: Project, role: str) -> str:
    """Where a person with this role lands: annotators at the judging page, the others at the dashboard."""
    return reverse("annotation:work" if role == Role.ANNOTATOR else "annotation:project", args=[project.slug])


def _current(request: HttpRequest, project: Project | None, projects: list[Project]) -> Project | None:
    """The page's project, remembered; on a page without one, the one opened last."""
    if isinstance(project, Project):
        if request.session.get("project") != project.slug:
            request.session["project"] = project.slug
        return project
    last = request.session.get("project")
    return next((one for one in projects if one.slug == last), projects[0] if len(projects) == 1 else None)


def _link(
    request: HttpRequest,
    project: Project,
    name: str,
    label: str,
    icon: str,
    key: str,
    roles: tuple[str, ...],
    extra: bool,
) -> Link | None:
    try:
        href = reverse(name, args=[project.slug])
    except NoReverseMatch:  # the app that brings this page is not installed
        return None
    here = _name(request)
    counter = _counters.get(name)
    said = counter(project) if counter else ""
    return Link(gettext(label), href, icon, key, BELONGS.get(here, here) == name, said, extra)


def _name(request: HttpRequest) -> str:
    match = request.resolver_match
    return match.view_name if match else ""
