"""Reaching the silos: one warm Ray actor per silo, and the cohort that calls them.

Within one trust domain only: a Ray cluster lets its users run code on every node, so
organisations that do not trust each other never share one.
"""
