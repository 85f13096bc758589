"""``python -m trigan`` is the console script, and like it imports nothing from the current folder."""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] == os.getcwd():
    del sys.path[0]

from trigan.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
