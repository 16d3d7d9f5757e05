"""``manage.py hfclient_check``: try out the connections that the application needs."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from hfclient import HFClientError
from hfclient.doctor import Check, summary
from hfclient.web.connection_checks import CHECKS, check_connections
from hfclient.web.django import clients
from hfclient.web.django.conf import read_options

__all__ = ["Command"]

_MARKS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED ", "skipped": "skipped"}


class Command(BaseCommand):
    """Checks network, chat server, login, models, token, inference and stores; the exit status is 1 if a check failed."""

    help = "Tries out the connections of HFCLIENT: chat server, login, models, inference, the stores of relay and guard."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument("--seconds", type=float, default=10.0, help="time limit of each check (10)")
        parser.add_argument(
            "--skip", action="append", default=[], choices=CHECKS, metavar="NAME",
            help='a check that is not made, such as "inference" for an application that only chats; may be repeated',
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        results: list[Check] = []
        try:
            given = read_options()
            client = clients.new_client()
            store = clients.new_relay().store if given.get("relay", {}).get("store") else None
            guard = clients.new_guard() if "guard" in given else None
        except (HFClientError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from None
        try:
            for result in check_connections(client, store=store, guard=guard, seconds=options["seconds"], skip=options["skip"]):
                results.append(result)
                if not options["json"]:
                    self._print(result)
        finally:
            client.close()
            if store is not None:
                store.close()
        failed = [result.name for result in results if result.status == "failed"]
        if options["json"]:
            report = {"ok": not failed, "checks": [result.to_dict() for result in results], "summary": summary(results)}
            self.stdout.write(json.dumps(report, indent=2))
        if failed:
            raise CommandError(f"failed: {', '.join(failed)}", returncode=1)

    def _print(self, result: Check) -> None:
        styles = {"ok": self.style.SUCCESS, "warning": self.style.WARNING, "failed": self.style.ERROR, "skipped": self.style.NOTICE}
        self.stdout.write(f"{styles[result.status](_MARKS[result.status])} {result.name}: {result.detail}")
        if result.remedy:
            self.stdout.write(f"        {result.remedy}")
