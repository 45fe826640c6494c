#!/usr/bin/env bash
# Start TensorFlow Serving on this folder's three config files: REST on 8501, gRPC on 8500.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# YOUR CODE HERE
