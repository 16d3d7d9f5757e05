"""Checks of an installation, its logins and the servers that it uses: what works, what does not, and the remedy.

from hfclient.doctor import check

for result in check():
    print(result.status, result.name, result.detail, result.remedy or "")

``hfclient doctor`` prints the results, ``manage.py hfclient_check`` too, with the stores of a Django application.
"""

from hfclient.doctor.checks import CHECKS, check
from hfclient.doctor.results import Check, summary

__all__ = ["CHECKS", "Check", "check", "summary"]
