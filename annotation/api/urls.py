"""Addresses of the labeling API, below /api/v1/."""

from django.urls import path

from annotation.api import admins, data, mappings, people, projects, quality, review, work

urlpatterns = [
    # First what every judgement asks for: patterns are tried in this order.
    path("projects/<slug:slug>/next/", work.Next.as_view(), name="api-next"),
    path("tasks/<int:task_id>/annotations/", work.Annotations.as_view(), name="api-annotations"),
    path("templates/", projects.Templates.as_view(), name="api-templates"),
    path("admins/", admins.Admins.as_view(), name="api-admins"),
    path("admins/<str:username>/", admins.Admin.as_view(), name="api-admin"),
    path("projects/", projects.Projects.as_view(), name="api-projects"),
    path("projects/<slug:slug>/", projects.ProjectDetail.as_view(), name="api-project"),
    path("projects/<slug:slug>/members/", projects.Members.as_view(), name="api-members"),
    path("projects/<slug:slug>/members/<str:username>/state/", projects.MemberState.as_view(), name="api-member-state"),
    path("projects/<slug:slug>/members/<str:username>/", people.Member.as_view(), name="api-member"),
    path("projects/<slug:slug>/invitations/", people.Invitations.as_view(), name="api-invitations"),
    path(
        "projects/<slug:slug>/invitations/<int:invitation_id>/",
        people.InvitationDetail.as_view(),
        name="api-invitation",
    ),
    path("projects/<slug:slug>/disputes/", review.Disputes.as_view(), name="api-disputes"),
    path("tasks/<int:task_id>/review/", review.Review.as_view(), name="api-review"),
    path("tasks/<int:task_id>/adjudications/", review.Adjudications.as_view(), name="api-adjudications"),
    path("adjudications/<int:adjudication_id>/withdraw/", review.Withdraw.as_view(), name="api-withdraw"),
    path("tasks/<int:task_id>/comments/", review.Comments.as_view(), name="api-comments"),
    path("projects/<slug:slug>/assign/", projects.Assign.as_view(), name="api-assign"),
    path("projects/<slug:slug>/agreement/", quality.Agreement.as_view(), name="api-agreement"),
    path("projects/<slug:slug>/stats/", quality.Stats.as_view(), name="api-stats"),
    path("projects/<slug:slug>/quality/", quality.Quality.as_view(), name="api-quality"),
    path("projects/<slug:slug>/import/", data.Import.as_view(), name="api-import"),
    path("projects/<slug:slug>/imports/<int:job_id>/", data.ImportStatus.as_view(), name="api-import-job"),
    path("projects/<slug:slug>/mappings/", mappings.FieldMappings.as_view(), name="api-mappings"),
    path("projects/<slug:slug>/mappings/<int:mapping_id>/", mappings.OneFieldMapping.as_view(), name="api-mapping"),
    path("projects/<slug:slug>/annotations/", data.Annotations.as_view(), name="api-project-annotations"),
    path("projects/<slug:slug>/export/", data.Export.as_view(), name="api-export"),
    path("tasks/<int:task_id>/draft/", work.Draft.as_view(), name="api-draft"),
    path("tasks/<int:task_id>/skip/", work.Skip.as_view(), name="api-skip"),
    path("annotations/<int:annotation_id>/undo/", work.Undo.as_view(), name="api-undo"),
]
