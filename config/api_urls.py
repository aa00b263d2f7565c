"""The HTTP API, version 1: both apps' routes, the schema and its documentation page."""

from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView

from annotation.api import problems
from config.api_docs import api_docs

urlpatterns = [
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", api_docs, name="api-docs"),
    path("", include("annotation.api.urls")),
    path("", include("rlhf.api.urls")),
    re_path("", problems.no_such_address),
]
