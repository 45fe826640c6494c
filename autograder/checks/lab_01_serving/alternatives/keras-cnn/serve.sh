#!/usr/bin/env bash
# The server runs as a child of this script, which passes the signals on and waits for the end.
HERE="$(cd "$(dirname "$0")" && pwd)"

tensorflow_model_server \
  --port=8500 \
  --rest_api_port=8501 \
  --model_config_file="$HERE/models.config" \
  --model_config_file_poll_wait_seconds=1 \
  --file_system_poll_wait_seconds=1 \
  --allow_version_labels_for_unavailable_models=true \
  --max_num_load_retries=0 \
  --enable_batching=true \
  --batching_parameters_file="$HERE/batching.config" \
  --monitoring_config_file="$HERE/monitoring.config" &
SERVER=$!

trap 'kill -TERM "$SERVER" 2>/dev/null' TERM INT HUP
wait "$SERVER"
STATUS=$?
# a trap ends the first wait early: wait again for the server's own end
while kill -0 "$SERVER" 2>/dev/null; do
  wait "$SERVER"
  STATUS=$?
done
exit "$STATUS"
