#!/bin/bash
cd -- "$(dirname -- "$0")" || exit 1
flags="--port=8500 --rest_api_port=8501 --rest_api_num_threads=16"
flags="$flags --model_config_file=models.config --model_config_file_poll_wait_seconds=1"
flags="$flags --file_system_poll_wait_seconds=1 --num_load_threads=2"
flags="$flags --allow_version_labels_for_unavailable_models=true"
flags="$flags --enable_batching=true --batching_parameters_file=batching.config"
flags="$flags --monitoring_config_file=monitoring.config"
# shellcheck disable=SC2086
exec tensorflow_model_server $flags
