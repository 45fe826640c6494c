"""The embedded model server: TensorFlow Serving's REST and gRPC API on TensorFlow's C library.

A program of its own for machines without Docker and for Apple silicon. It takes `tensorflow_model_server`'s
flags and configuration files and answers as TensorFlow Serving 2.20 does, down to the error texts. It imports
nothing else of this project and never `import tensorflow`: it opens the C library inside that package.

Read it from the outside in: `__main__` and `server` put the parts together; `flags`, `config` and `textproto` read
what they are told; `storage` and `manager` decide which versions live; `servable` is one loaded version;
`rest`, `http` and `grpc_server` are the doors; `inference`, `jsonin`, `jsonout` and `tensor` do the work.
"""

TFSERVING_VERSION = "2.20.0"
"""The release of TensorFlow Serving whose answers this server reproduces."""
