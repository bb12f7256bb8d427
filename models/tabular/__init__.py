"""Plain models of tables: a line, a logistic line, a small network."""
