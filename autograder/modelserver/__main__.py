"""`python -m autograder.modelserver`, also installed as `tensorflow_model_server`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from . import TFSERVING_VERSION, logs
from .capi import TensorFlow
from .errors import StartError, StatusError
from .flags import Flags, UsageError

_FAILED = 255


def serve(arguments: Sequence[str]) -> int:
    """Runs the server with these flags. Returns the exit code."""
    try:
        flags = Flags(arguments)
        if flags.on("version"):
            logs.say(f"TensorFlow ModelServer: {TFSERVING_VERSION} (embedded model server)")
            logs.say(f"TensorFlow Library: {TensorFlow().version}")
            return 0
        from .server import Server  # slow to import, and not needed for a mistyped flag

        return Server(flags).run()
    except UsageError:
        return _FAILED
    except (StatusError, StartError) as error:
        logs.say(f"Failed to start server. Error: {error}")
        return _FAILED


def main() -> None:
    """Runs the server with the command line's flags, and ends the process."""
    code = serve(sys.argv[1:])
    sys.stdout.flush()
    # Not sys.exit: Python would take TensorFlow's library apart while its threads may still run.
    os._exit(code)


if __name__ == "__main__":
    main()
