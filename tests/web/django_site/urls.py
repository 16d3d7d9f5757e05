"""Views of the tests' project."""

from __future__ import annotations

import threading
import time
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from hfclient.web.django import astream_response, conversation_lock, get_client, stream_response
from tests.web.django_site.models import EditableThread

admin.site.register(EditableThread)
closed: list[str] = []


def ask(request: HttpRequest) -> Any:
    """Stream the answer to the prompt."""
    prompt = request.POST.get("prompt", "")
    return stream_response(
        request, lambda: get_client().chat(prompt), wait=float(request.GET.get("wait", 20)), on_close=lambda: closed.append(prompt)
    )


def quick(request: HttpRequest) -> Any:
    """Stream the answer without waiting for a refusal."""
    prompt = request.POST.get("prompt", "")
    return stream_response(request, lambda: get_client().chat(prompt), wait=None)


def opened(request: HttpRequest) -> Any:
    """Stream an answer that was asked for by the view."""
    from hfclient.web import ndjson

    return stream_response(request, get_client().chat(request.POST.get("prompt", "")), body=ndjson)


async def from_coroutine(request: HttpRequest) -> Any:
    """Stream the answer from a coroutine."""
    prompt = request.POST.get("prompt", "")
    return stream_response(request, lambda: get_client().chat(prompt))


async def awaited(request: HttpRequest) -> Any:
    """Stream the answer from a coroutine that waits for a refusal."""
    prompt = request.POST.get("prompt", "")
    return await astream_response(
        request, lambda: get_client().chat(prompt), wait=float(request.GET.get("wait", 20)), on_close=lambda: closed.append(prompt)
    )


def locked(request: HttpRequest) -> Any:
    """Stream the answer while a lock is held."""
    prompt = request.POST.get("prompt", "")
    return stream_response(request, lambda: get_client().chat(prompt), lock=conversation_lock("one", cache=request.GET.get("cache", "default")))


def whole(request: HttpRequest) -> HttpResponse:
    """Return the whole answer."""
    return JsonResponse({"text": get_client().chat(request.POST.get("prompt", "")).text})


def broken(request: HttpRequest) -> HttpResponse:
    """Have a bug."""
    raise ValueError("a bug of the application")


def alive(request: HttpRequest) -> HttpResponse:
    """Return the names of the running threads, for a test of what a worker still does."""
    return JsonResponse({"threads": [thread.name for thread in threading.enumerate()], "time": time.time(), "closed": closed})


urlpatterns = [
    path("admin/", admin.site.urls),
    path("alive", alive),
    path("ask", ask),
    path("awaited", awaited),
    path("broken", broken),
    path("from_coroutine", from_coroutine),
    path("locked", locked),
    path("opened", opened),
    path("quick", quick),
    path("whole", whole),
]
