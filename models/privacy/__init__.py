"""Differential privacy: what it costs, what it adds, and whether it shows."""
