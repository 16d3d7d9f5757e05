"""The application's configuration."""

from django.apps import AppConfig


class ChatConfig(AppConfig):
    """Threads of users, answered by a chat-ui."""

    name = "chat"
    default_auto_field = "django.db.models.BigAutoField"
