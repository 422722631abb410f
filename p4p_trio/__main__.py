"""`python -m p4p_trio`: the command line tools."""

from __future__ import annotations

import sys

from p4p_trio.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
