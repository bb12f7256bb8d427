"""Architectures that rank items for a history; one short file each."""
