"""The checks of lab 01: TensorFlow Serving."""
