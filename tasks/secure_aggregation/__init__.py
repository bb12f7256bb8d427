"""Sums over silos in which nobody sees a silo's own input; see PROTOCOL.md."""
