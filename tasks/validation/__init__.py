"""The gate: a silo's tables keep the data contract, or the silo is quarantined.

Great Expectations runs inside the silo. What leaves it is, per expectation, whether it
holds and in roughly how many rows it does not; never a value, never an exact count.
"""
