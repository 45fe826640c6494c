"""The hidden checks, a folder a lab; the planted faults that prove them beside them."""
