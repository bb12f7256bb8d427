"""Worked examples on plain tables: made-up rows, local fits, and an oracle."""
