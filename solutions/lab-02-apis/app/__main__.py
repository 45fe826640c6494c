"""`python -m app` starts the API: on every interface, at the port of the settings."""

from __future__ import annotations

import uvicorn

from app.main import create_app
from app.settings import from_environment

if __name__ == "__main__":
    settings = from_environment()
    ### BEGIN SOLUTION
    # Our own middleware writes a line for each request: uvicorn's would say less, and without the request's id.
    uvicorn.run(create_app(settings), host="0.0.0.0", port=settings.port, access_log=False)
    ### END SOLUTION
