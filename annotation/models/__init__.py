"""The labeling tables, by subject."""

from annotation.models.annotations import Annotation
from annotation.models.checks import GoldResult, RepeatCheck
from annotation.models.discussion import Comment, Notice
from annotation.models.invitations import GuidelineReading, Invitation
from annotation.models.mappings import FieldMapping
from annotation.models.people import ApiToken, Membership, Role, User
from annotation.models.projects import GuidelineVersion, ImportJob, Kind, Order, Project, SkipTo
from annotation.models.reports import QualityReport
from annotation.models.review import Adjudication, Dispute
from annotation.models.rule_changes import RuleChange
from annotation.models.tasks import Assignment, Cursor, Pool, Purpose, Response, Task
from annotation.models.withdrawals import Withdrawal

__all__ = [
    "Adjudication",
    "Annotation",
    "ApiToken",
    "Assignment",
    "Comment",
    "Cursor",
    "Dispute",
    "FieldMapping",
    "GoldResult",
    "GuidelineReading",
    "GuidelineVersion",
    "ImportJob",
    "Invitation",
    "Kind",
    "Membership",
    "Notice",
    "Order",
    "Pool",
    "Project",
    "Purpose",
    "QualityReport",
    "RepeatCheck",
    "Response",
    "Role",
    "RuleChange",
    "SkipTo",
    "Task",
    "User",
    "Withdrawal",
]
