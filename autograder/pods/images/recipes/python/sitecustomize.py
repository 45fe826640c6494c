"""Every virtual environment of the image finds the course's packages, as it could install none."""

import sys

if sys.prefix not in ("/usr", "/opt/course"):
    sys.path.append("/opt/course/lib/python3.11/site-packages")
