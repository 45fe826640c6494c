"""`python -m app` starts the API: on every interface, at the port of the settings."""

from __future__ import annotations

import uvicorn

from app.main import create_app
from app.settings import from_environment

if __name__ == "__main__":
    settings = from_environment()
    # YOUR CODE HERE
    raise NotImplementedError("__main__.py: a part is still to be written")
