"""``python -m autograder``: nothing is imported from the folder that it is called in."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from autograder.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
