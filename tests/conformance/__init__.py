"""Recorded answers of a real TensorFlow Serving, replayed against any model server."""
