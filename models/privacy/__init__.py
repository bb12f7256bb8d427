"""Differential privacy: what bounds a user's influence, and what hides the rest."""
