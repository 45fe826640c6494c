#!/bin/sh
set -eu
: "${API_KEY:?choose a key}"
exec uvicorn --factory app.web:make --host 0.0.0.0 --port "${PORT:-8000}" --no-access-log --timeout-graceful-shutdown 60
