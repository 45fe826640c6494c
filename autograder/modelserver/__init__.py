"""The embedded model server: TensorFlow Serving's REST and gRPC API on TensorFlow's C library.

A program of its own for machines without Docker and for Apple silicon. It takes `tensorflow_model_server`'s
flags and configuration files and answers as TensorFlow Serving 2.20 does, down to the error texts. It imports
nothing else of this project and never `import tensorflow`: it opens the C library inside that package.

Read it from the outside in:

- `__main__`, `server`: the parts put together, the start and the end.
- `flags`, `config`, `textproto`: what it is told; `logs`, `errors`: what it says.
- `storage`, `manager`, `servable`, `warmup`: which versions live, and one loaded version.
- `http`, `rest`, `grpc_server`, `listening`: the doors.
- `inference`, `batching`, `metrics`: what a request asks of a version, joined with others, counted.
- `jsonin` (quick) and `jsonvalue`, `jsonexact`, `examples` (exact), `jsonout`, `jsontext`: JSON.
- `capi`, `session`, `tensor`, `protos`: TensorFlow's C library and its messages.
"""

TFSERVING_VERSION = "2.20.0"
"""The release of TensorFlow Serving whose answers this server reproduces."""
