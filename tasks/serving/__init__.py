"""Recommendations on request, inside a silo; the model changes without a pause."""
