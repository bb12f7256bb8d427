"""The best items for everybody of a silo, worked out and kept inside the silo."""
