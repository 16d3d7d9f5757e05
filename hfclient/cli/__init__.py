"""The command ``hfclient`` (extra: cli), a thin layer over the library.

Exit codes: 0 for success, 1 for an error of the library or the server, 2 for a usage error, 130 after Ctrl-C, 141 when the
reader of a pipe has exited.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line with the arguments of the process and return the exit code."""
    try:
        # Imported late: without click the user should see one line, not a traceback.
        from hfclient.cli.app import run
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.stderr.write('hfclient: the command line needs the package click: pip install "hfclient[cli]"\n')
        return 2
    except KeyboardInterrupt:  # while modules are imported
        return 130
    return run()
