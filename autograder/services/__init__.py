"""The real systems that labs run: a file each for how it starts, when it is ready, and how to talk to it."""
