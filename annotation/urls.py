"""Addresses of the labeling pages."""

from django.urls import path

from annotation.views import account, data, joining, own, people, projects, queue, review, work

app_name = "annotation"

urlpatterns = [
    path("", projects.home, name="home"),
    path("login/", account.login, name="login"),
    path("logout/", account.logout, name="logout"),
    path("account/", account.account, name="account"),
    path("account/preferences/", account.preferences, name="preferences"),
    path("account/tokens/", account.create_token, name="create_token"),
    path("account/tokens/<int:token_id>/revoke/", account.revoke_token, name="revoke_token"),
    path("my-work/", own.my_work, name="my_work"),
    path("annotations/<int:annotation_id>/change/", own.change, name="change"),
    path("annotations/<int:annotation_id>/keep/", own.keep, name="keep"),
    path("projects/new/", projects.new_project, name="new_project"),
    path("projects/<slug:slug>/", projects.project, name="project"),
    path("projects/<slug:slug>/settings/", projects.settings, name="settings"),
    path("projects/<slug:slug>/settings/preview/", projects.preview_questions, name="preview_questions"),
    path("projects/<slug:slug>/guidelines/", projects.write_guidelines, name="guidelines"),
    path("projects/<slug:slug>/import/", data.import_page, name="import"),
    path("projects/<slug:slug>/import/<int:job_id>/", data.import_job, name="import_job"),
    path("projects/<slug:slug>/export/", data.export, name="export"),
    path("projects/<slug:slug>/queue/", queue.queue, name="queue"),
    path("projects/<slug:slug>/queue/release/<int:user_id>/", queue.release, name="release"),
    path("projects/<slug:slug>/queue/skipped/", queue.settle_skipped, name="settle_skipped"),
    path("projects/<slug:slug>/people/", people.people, name="people"),
    path("projects/<slug:slug>/people/add/", people.add_member, name="add_member"),
    path("projects/<slug:slug>/people/<int:member_id>/role/", people.change_role, name="change_role"),
    path("projects/<slug:slug>/people/<int:member_id>/state/", people.change_state, name="change_state"),
    path("projects/<slug:slug>/people/<int:member_id>/remove/", people.remove_member, name="remove_member"),
    path("projects/<slug:slug>/people/invite/", people.invite, name="invite"),
    path(
        "projects/<slug:slug>/people/invitations/<int:invitation_id>/revoke/",
        people.revoke_invitation,
        name="revoke_invitation",
    ),
    path("projects/<slug:slug>/people/<int:member_id>/deactivate/", people.deactivate, name="deactivate"),
    path("projects/<slug:slug>/people/<int:member_id>/pseudonymise/", people.pseudonymise, name="pseudonymise"),
    path("join/<str:secret>/", joining.join, name="join"),
    path("projects/<slug:slug>/work/", work.work, name="work"),
    path("tasks/<int:task_id>/judge/", work.judge, name="judge"),
    path("tasks/<int:task_id>/skip/", work.skip, name="skip"),
    path("tasks/<int:task_id>/draft/", work.draft, name="draft"),
    path("tasks/<int:task_id>/renew/", work.renew, name="renew"),
    path("tasks/<int:task_id>/ahead/", work.ahead, name="ahead"),
    path("annotations/<int:annotation_id>/undo/", work.undo, name="undo"),
    path("projects/<slug:slug>/review/", review.review, name="review"),
    path("projects/<slug:slug>/review/next/", review.next_dispute, name="next_dispute"),
    path("projects/<slug:slug>/review/four-eyes/", review.four_eyes, name="four_eyes"),
    path("tasks/<int:task_id>/review/", review.adjudicate, name="adjudicate"),
    path("tasks/<int:task_id>/decide/", review.decide, name="decide"),
    path("adjudications/<int:adjudication_id>/withdraw/", review.withdraw, name="withdraw"),
    path("preview/", work.preview, name="preview"),
]
