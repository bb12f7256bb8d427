"""What every silo's tables must satisfy: one versioned suite per table, as data.

Whoever checks the tables decides with which engine; `kind` is the name of the
Great Expectations type. Change a suite and raise its version in the same commit:
the records of a run name the version its silos were held to.
"""
