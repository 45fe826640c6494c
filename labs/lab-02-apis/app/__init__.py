"""An API that reads handwritten digits, in front of a model server."""
