"""The agreements: what two parties of a federation must understand the same way.

Configuration, table columns, records, messages and errors. Lowest floor of the
house: imports nothing of ours, and reads no file but a configuration and our own code.
"""
