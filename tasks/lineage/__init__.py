"""The lineage room: the durable record of every run.

Records become rows of append-only Delta tables, models become content-addressed
safetensors files, and both are asked which data went into which model.
"""
