"""The hidden checks of lab 02, the planted faults that prove them, and other right answers."""
