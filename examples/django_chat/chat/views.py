"""The views. Each finds a thread through the user who asks, so that of another user is a 404, and makes one call of hfclient."""

from contextlib import suppress
from functools import wraps

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import UserCreationForm
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse_lazy
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from django.views.generic import CreateView

from chat.forms import AnswerForm, MessageForm, PromptForm, TitleForm, json_body
from chat.models import SHOWN, Thread
from hfclient import ElicitationAnswer, HFClientError
from hfclient.errors import NotFoundError
from hfclient.events import Elicitation
from hfclient.web import problem
from hfclient.web.django import follow, get_guard, get_relay, start

# Loaded at once, instead of one after the other.
MODULES = [f"hfclient/{name}.js" for name in ("hfclient", "answer", "elements", "markdown", "stream")]
SUGGESTIONS = ("Why is the sky blue?", "Write a haiku about rain", "Explain recursion to a child")


class SignUp(CreateView):
    """Create a user, who is then logged in."""

    form_class, template_name, success_url = UserCreationForm, "registration/signup.html", reverse_lazy("home")

    def form_valid(self, form):
        """Save the user and log in."""
        response = super().form_valid(form)
        login(self.request, self.object)
        return response


def post(view):
    """Decorate a view that a script calls by POST: a login that has expired is a problem for the script to show."""

    @require_POST
    @wraps(view)
    def checked(request, **ids):
        if not request.user.is_authenticated:
            return JsonResponse({"title": "Please log in again.", "status": 401, "code": "login"}, status=401)
        return view(request, **ids)

    return checked


# Pages


@login_required
@require_GET
@never_cache
def page(request, pk=None):
    """Show a thread, or the start page, beside the list of the user's threads."""
    query = request.GET.get("q", "").replace("\0", "")[:100]
    threads = request.user.threads.exclude(conversation_id="").filter(title__icontains=query)[:200]
    context = {"threads": threads, "query": query, "suggestions": SUGGESTIONS, "modules": MODULES, "shown": SHOWN, "thread": Thread()}
    status = 200
    if pk is not None:
        thread = context["thread"] = get_object_or_404(request.user.threads, pk=pk)
        try:
            context["run"] = get_relay().running(pk)
            context["messages"] = thread.read(is_running=context["run"] is not None)
        except HFClientError as error:
            context["problem"] = problem(error).body
            status = problem(error).status
    return render(request, "chat/thread.html", context, status=status)


@login_required
@require_POST
def rename(request, pk):
    """Give a thread a title."""
    thread, form = get_object_or_404(request.user.threads, pk=pk), TitleForm(request.POST)
    if form.is_valid():
        thread.title, thread.is_named = form.cleaned_data["title"], True
        thread.save()
    return redirect(thread)


@login_required
@require_POST
def delete(request, pk):
    """Delete a thread here and on the chat server."""
    thread = get_object_or_404(request.user.threads, pk=pk)
    if run := get_relay().running(pk):
        get_relay().stop(run.id, owner=request.user.pk)
    with suppress(NotFoundError):  # it was deleted there before
        thread.conversation.delete()
    thread.delete()
    return redirect("home")


@login_required
@require_POST
def branch(request, pk):
    """Select another version of a message."""
    thread, form = get_object_or_404(request.user.threads, pk=pk), MessageForm(request.POST)
    if form.is_valid():
        thread.leaf = thread.conversation.choose_branch(str(form.cleaned_data["message"]))[-1].id
        thread.save()
    return redirect(thread)


@login_required
@require_GET
def file(request, pk, sha):
    """Send a file of a thread. Images are shown; everything else is a download that no browser opens as a page."""
    conversation = get_object_or_404(request.user.threads, pk=pk).conversation
    found = next((each for message in conversation.tree() for each in message.files if each.sha == sha), None)
    if found is None:
        raise Http404
    is_shown = found.mime in SHOWN
    headers = {
        "Content-Disposition": content_disposition_header(not is_shown, found.name),
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "private, max-age=86400",
    }
    return HttpResponse(conversation.read_file(found), found.mime if is_shown else "application/octet-stream", headers=headers)


# Answers


def ask(request, thread, call, prompt=""):
    """Run *call* of the thread's conversation, which returns a stream, apart from this request. Returns the id of the run."""

    def open_stream():
        conversation = thread.conversation
        if conversation.id is None:
            Thread.objects.filter(pk=thread.pk).update(conversation_id=conversation.create().id)
        elif thread.leaf:
            conversation.choose_branch(thread.leaf)
        return call(conversation)

    user = request.user.pk
    run = start(
        thread.pk,
        get_guard().watch(open_stream, user=user, prompt=prompt),
        owner=user,
        idempotency_key=request.headers.get("Idempotency-Key"),
        wait=5,
    )
    Thread.objects.filter(pk=thread.pk).update(leaf="", updated_at=timezone.now())
    return JsonResponse({"run": run.id})


def refused(form):
    """Return the first error of *form*, in the layout of all other problems."""
    return JsonResponse({"title": next(iter(form.errors.values()))[0], "status": 400, "code": "invalid-input"}, status=400)


@post
def send(request, pk):
    """Send a message to a thread. The page of a new thread has chosen its id, so a request that is repeated creates one thread."""
    form = PromptForm(request.POST, request.FILES)
    if not form.is_valid():
        return refused(form)
    prompt = form.cleaned_data["prompt"]
    thread, _ = Thread.objects.get_or_create(pk=pk, defaults={"owner": request.user, "title": prompt[:80]})
    if thread.owner != request.user:
        raise Http404
    return ask(request, thread, lambda conversation: form.open(conversation, mcp=settings.CHAT_MCP), prompt)


@post
def answer(request, pk):
    """Answer the question of a tool. A run that waits for the answer continues; one that had ended is continued by a new one."""
    thread = get_object_or_404(request.user.threads, pk=pk)
    form = AnswerForm(json_body(request))
    if not form.is_valid():
        return refused(form)
    question_id, action, content = form.cleaned_data.values()
    question = Elicitation(question_id, server="", mode="form", message="")
    stream = thread.conversation.answer(question, ElicitationAnswer(action, content), mcp=settings.CHAT_MCP)
    return JsonResponse({}) if stream is None else ask(request, thread, lambda conversation: stream)


@post
def stop(request, run_id):
    """Stop an answer, in whichever process it is generated."""
    get_relay().stop(run_id, owner=request.user.pk)
    return HttpResponse(status=204)


@login_required
@require_GET
def events(request, run_id):
    """Send the events of an answer, from the one after ``Last-Event-ID`` on."""
    return follow(request, run_id, owner=request.user.pk)
