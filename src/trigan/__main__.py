"""``python -m trigan`` is the console script."""

import sys

from trigan.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
