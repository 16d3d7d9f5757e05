"""``manage.py demo``: a running chat with one command."""

import os
import signal
import socket

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, call_command

from hfclient.web.django import get_client, get_relay

NAME = PASSWORD = "demo"  # noqa: S105 (printed, and only for this computer)


def end(*_):
    """Handle Ctrl-C and SIGTERM: end the server once, and close everything in peace."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


class Command(BaseCommand):
    """Prepare the database, make the user ``demo``, and serve until Ctrl-C."""

    help = "Prepare the database, make a user, and serve the chat on this computer until Ctrl-C."

    def add_arguments(self, parser):
        """Add the port."""
        parser.add_argument("port", nargs="?", type=int, default=int(os.environ.get("PORT", "0")), help="a free one by default")

    def handle(self, *, port, **options):
        """Serve."""
        import waitress
        from config.wsgi import application

        try:
            listener = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            raise CommandError(f"port {port} cannot be used: {error.strerror}") from error
        call_command("migrate", verbosity=0)
        user, is_new = get_user_model().objects.get_or_create(username=NAME)
        if is_new:
            user.set_password(PASSWORD)
            user.save()
        self.stdout.write("Starting the model ...")
        get_client()
        self.stdout.write(
            f"\n  Chat:      {self.style.SUCCESS(f'http://localhost:{listener.getsockname()[1]}/')}"
            f"\n  Log in as: {NAME}, password {PASSWORD}\n\n  Ctrl-C ends it.\n"
        )
        self.stdout.flush()  # tox reads a pipe
        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGTERM, end)
        try:
            waitress.serve(application, sockets=[listener], threads=32, _quiet=True)
        finally:
            get_relay().close(5)
            get_client().close()
        self.stdout.write("Stopped.")
