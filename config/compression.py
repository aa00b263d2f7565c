"""Pages and JSON compressed for browsers: a judging page is a quarter of its size on the wire."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware


class CompressedPages(GZipMiddleware):
    """Gzip for whole responses; a stream goes out as it is, because exports shall take no processor time for it.

    Django pads each response by a random number of bytes and masks the form token anew in each, so that the size tells
    nothing about a secret in the page (the BREACH attack).
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        return response if response.streaming else super().process_response(request, response)
