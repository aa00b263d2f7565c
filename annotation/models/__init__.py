"""The labeling tables, by subject."""

from annotation.models.annotations import Annotation
from annotation.models.people import ApiToken, Membership, Role, User
from annotation.models.projects import GuidelineVersion, ImportJob, Kind, Order, Project
from annotation.models.tasks import Assignment, Cursor, Purpose, Response, Task

__all__ = [
    "Annotation",
    "ApiToken",
    "Assignment",
    "Cursor",
    "GuidelineVersion",
    "ImportJob",
    "Kind",
    "Membership",
    "Order",
    "Project",
    "Purpose",
    "Response",
    "Role",
    "Task",
    "User",
]
