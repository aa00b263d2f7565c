"""Where every address of Hone leads."""

from django.urls import include, path

from config import health

urlpatterns = [
    path("api/v1/", include("config.api_urls")),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("", include("annotation.urls")),
    path("", include("rlhf.urls")),
]
handler500 = "config.health.server_error"
