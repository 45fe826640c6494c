#!/bin/sh
exec tensorflow_model_server --rest_api_port=8501 --port=8500 \
    --model_config_file="$PWD/models.config" --model_config_file_poll_wait_seconds=1 \
    --file_system_poll_wait_seconds=1 --allow_version_labels_for_unavailable_models \
    --enable_batching --batching_parameters_file="$PWD/batching.config" \
    --monitoring_config_file="$PWD/monitoring.config"
