"""The command ``hfclient`` (extra: cli), a thin layer over the library.

Exit codes: 0 for success, 1 for an error of the library or the server, 2 for a usage error, 130 after Ctrl-C, 141 when the
reader of a pipe has exited.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line with the arguments of the process and return the exit code."""
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not ignored, as after nohup
            # Nothing has to be stopped yet. An exception in the middle of an import can be lost or become another one.
            with contextlib.suppress(ValueError):  # outside of the main thread
                signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        # Imported late: without click the user should see one line, not a traceback.
        from hfclient.cli.app import run
        from hfclient.cli.signals import own_process
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.stderr.write('hfclient: the command line needs the package click: pip install "hfclient[cli]"\n')
        return 2
    except KeyboardInterrupt:  # before there was a handler
        return 130
    with own_process():
        return run()
