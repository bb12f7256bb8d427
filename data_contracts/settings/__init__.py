"""Sections of the run configuration, one file per subject."""
