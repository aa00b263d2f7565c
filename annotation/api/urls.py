"""Addresses of the labeling API, below /api/v1/."""

from django.urls import path

from annotation.api import data, projects, quality, work

urlpatterns = [
    path("templates/", projects.Templates.as_view(), name="api-templates"),
    path("projects/", projects.Projects.as_view(), name="api-projects"),
    path("projects/<slug:slug>/", projects.ProjectDetail.as_view(), name="api-project"),
    path("projects/<slug:slug>/members/", projects.Members.as_view(), name="api-members"),
    path("projects/<slug:slug>/members/<str:username>/state/", projects.MemberState.as_view(), name="api-member-state"),
    path("projects/<slug:slug>/assign/", projects.Assign.as_view(), name="api-assign"),
    path("projects/<slug:slug>/agreement/", quality.Agreement.as_view(), name="api-agreement"),
    path("projects/<slug:slug>/stats/", quality.Stats.as_view(), name="api-stats"),
    path("projects/<slug:slug>/quality/", quality.Quality.as_view(), name="api-quality"),
    path("projects/<slug:slug>/import/", data.Import.as_view(), name="api-import"),
    path("projects/<slug:slug>/imports/<int:job_id>/", data.ImportStatus.as_view(), name="api-import-job"),
    path("projects/<slug:slug>/annotations/", data.Annotations.as_view(), name="api-project-annotations"),
    path("projects/<slug:slug>/export/", data.Export.as_view(), name="api-export"),
    path("projects/<slug:slug>/next/", work.Next.as_view(), name="api-next"),
    path("tasks/<int:task_id>/annotations/", work.Annotations.as_view(), name="api-annotations"),
    path("tasks/<int:task_id>/draft/", work.Draft.as_view(), name="api-draft"),
    path("tasks/<int:task_id>/skip/", work.Skip.as_view(), name="api-skip"),
    path("annotations/<int:annotation_id>/undo/", work.Undo.as_view(), name="api-undo"),
]
