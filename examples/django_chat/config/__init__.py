"""The project: settings, URLs, the applications for WSGI and ASGI."""
