#!/usr/bin/env bash
# Start TensorFlow Serving on this folder's three config files: REST on 8501, gRPC on 8500.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

### BEGIN SOLUTION
options=(
  --port=8500
  --rest_api_port=8501
  --monitoring_config_file=monitoring.config

  # Look for new versions, and for a new models.config, every second.
  --model_config_file=models.config
  --model_config_file_poll_wait_seconds=1
  --file_system_poll_wait_seconds=1

  # After a restart the labels stand in models.config before any version is loaded.
  --allow_version_labels_for_unavailable_models=true

  --enable_batching=true
  --batching_parameters_file=batching.config
  --enable_model_warmup=true

  # A corrupt version is given up after a second try; by default it would be retried for five minutes.
  --max_num_load_retries=1
  --load_retry_interval_micros=500000
)
# exec: the server takes this process's place, and so the signals that are meant for it.
exec tensorflow_model_server "${options[@]}"
### END SOLUTION
