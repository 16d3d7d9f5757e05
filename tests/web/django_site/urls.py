"""Views of the tests' project."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from hfclient.web.django import (
    astream_response,
    conversation_lock,
    follow,
    get_client,
    get_guard,
    read_prompt,
    start,
    stream_response,
)
from tests.web.django_site.models import EditableThread, Thread

admin.site.register(EditableThread)
closed: list[str] = []
titles: list[int] = []


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


def started(request: HttpRequest) -> HttpResponse:
    """Start a run that reads a thread from the database."""
    prompt, owner = read_prompt(request), request.GET.get("user", "ann")
    key = request.GET.get("thread", "1")

    def opened() -> Any:
        titles.append(Thread.objects.filter(pk=key).count())
        return get_client().chat(prompt)

    run = start(key, opened, owner=owner, wait=None, on_end=lambda run, reply, error: titles.append(Thread.objects.count()))
    return JsonResponse({"run": run.id})


def events(request: HttpRequest, run_id: str) -> Any:
    """Follow a run."""
    return follow(request, run_id, owner=request.GET.get("user", "ann"))


def guarded(request: HttpRequest) -> Any:
    """Stream an answer that is counted."""
    prompt = read_prompt(request)
    return stream_response(request, get_guard().watch(lambda: get_client().chat(prompt), user="ann", prompt=prompt), wait=20)


def echo(request: HttpRequest) -> HttpResponse:
    """Return the prompt."""
    return JsonResponse({"prompt": read_prompt(request, max_length=1000)})


def whole(request: HttpRequest) -> HttpResponse:
    """Return the whole answer."""
    return JsonResponse({"text": get_client().chat(request.POST.get("prompt", "")).text})


def broken(request: HttpRequest) -> HttpResponse:
    """Have a bug."""
    raise ValueError("a bug of the application")


def alive(request: HttpRequest) -> HttpResponse:
    """Return the names of the running threads, for a test of what a worker still does."""
    return JsonResponse({"pid": os.getpid(), "threads": [thread.name for thread in threading.enumerate()], "time": time.time(), "closed": closed})


urlpatterns = [
    path("admin/", admin.site.urls),
    path("alive", alive),
    path("ask", ask),
    path("awaited", awaited),
    path("broken", broken),
    path("echo", echo),
    path("from_coroutine", from_coroutine),
    path("guarded", guarded),
    path("locked", locked),
    path("opened", opened),
    path("quick", quick),
    path("runs/<run_id>", events),
    path("start", started),
    path("whole", whole),
]
