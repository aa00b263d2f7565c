"""Addresses of the loop's API."""

from typing import Any

urlpatterns: list[Any] = []
