"""Answers of hfclient in web applications: bodies for WSGI and ASGI, errors as responses, answers that outlive a request, limits.

This package uses the public API of hfclient only, and `import hfclient` does not import it. `hfclient.web.flask` and
`hfclient.web.django` are imported only by applications that use them.
"""
