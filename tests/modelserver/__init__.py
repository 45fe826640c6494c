"""The embedded model server: its parts, its promises, its official client."""
