"""The Content-Security-Policy: a page loads this site's own files only, and runs no script or style that is written into it."""

from django.utils.deprecation import MiddlewareMixin

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class ContentSecurityPolicy(MiddlewareMixin):
    """Add the header to each response that has none of its own."""

    def process_response(self, request, response):
        """Add the header."""
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response
