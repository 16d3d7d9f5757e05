"""``python -m hfclient``: the command line, for when the script ``hfclient`` is not on the path."""

from __future__ import annotations

import sys

from hfclient.cli import main

if __name__ == "__main__":
    sys.exit(main())
