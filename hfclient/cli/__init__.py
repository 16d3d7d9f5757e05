"""The command ``hfclient`` (extra: cli). A thin layer: options in, text out; what they mean is the library's business.

Exit codes: 0 for an answer, 1 for an error of the library or the server, 2 for a call that cannot work as it is, 130
after Ctrl-C, 141 when the reader of a pipe went away.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line with the process's own arguments and return its exit code."""
    try:
        # Late: the package can be installed without click, and then this line is all that a user should see.
        from hfclient.cli.app import run
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.stderr.write('hfclient: the command line needs one more package: pip install "hfclient[cli]"\n')
        return 2
    except KeyboardInterrupt:  # while modules were still being loaded
        return 130
    return run()
