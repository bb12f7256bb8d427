"""The stages of a run, one room each; rooms do not know each other.

A room's `silo_side.py` holds the steps that run inside a silo, `task.py` the Prefect
tasks that call them, and the other files the core, which knows neither Prefect nor
Ray.
"""
