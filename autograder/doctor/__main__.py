"""`python -m autograder.doctor`."""

import sys

from autograder.doctor import main

sys.exit(main())
