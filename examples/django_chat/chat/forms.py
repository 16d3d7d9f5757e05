"""What a browser may send."""

import json

from django import forms

MAX_FILES = 5


class FilesInput(forms.ClearableFileInput):
    """An input for several files."""

    allow_multiple_selected = True


class FilesField(forms.FileField):
    """Several files. The value is a list of names and contents, as `Conversation.send` takes it."""

    widget = FilesInput

    def clean(self, data, initial=None):
        """Check number and size."""
        if len(data) > MAX_FILES:
            raise forms.ValidationError(f"A message can have {MAX_FILES} files.")
        files = [super(FilesField, self).clean(file, initial) for file in data if file]
        if any(file.size > 10_000_000 for file in files):
            raise forms.ValidationError("A file can have 10 MB.")
        return [(file.name, file.read()) for file in files]


class PromptForm(forms.Form):
    """A message with its files.

    With ``edit``, the id of a message, it replaces that one. With ``retry`` it asks for another answer: to the message of
    the answer ``answer``, or to the last one.
    """

    prompt = forms.CharField(max_length=100_000)
    files = FilesField(required=False)
    edit = forms.CharField(max_length=40, required=False)
    retry = forms.BooleanField(required=False)
    answer = forms.CharField(max_length=40, required=False)

    def open(self, conversation, **options):
        """Send it to *conversation* and return the stream of the answer."""
        prompt, files, edit, retry, answer = self.cleaned_data.values()
        if edit:
            return conversation.edit(prompt, edit, **options)
        if answer or (retry and self._has_arrived(conversation)):
            return conversation.retry(answer or None, **options)
        return conversation.send(prompt, files=files, **options)

    def _has_arrived(self, conversation):
        """Whether the last message is this one: an answer can fail before the chat server has the message."""
        asked = [message.content.strip() for message in conversation.messages() if message.role == "user"]
        return asked[-1:] == [self.cleaned_data["prompt"]]


class AnswerForm(forms.Form):
    """The answer to a question of a tool."""

    elicitation_id = forms.CharField(max_length=200)
    action = forms.ChoiceField(choices=[(name, name) for name in ("accept", "decline", "cancel")])
    content = forms.JSONField(required=False)

    def clean_content(self):
        """Return the values by the names of their fields, or None."""
        content = self.cleaned_data["content"]
        if not isinstance(content, dict | None):
            raise forms.ValidationError("The values are an object.")
        return content


def json_body(request):
    """Return the object in the body, for a form; without one an empty object, which no form accepts."""
    try:
        data = json.loads(request.body)
    except (ValueError, RecursionError):
        data = None
    return data if isinstance(data, dict) else {}


class MessageForm(forms.Form):
    """The id of a message."""

    message = forms.CharField(max_length=40)


class TitleForm(forms.Form):
    """The new title of a thread."""

    title = forms.CharField(max_length=100)
