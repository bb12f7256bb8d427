"""What a silo does with the global model in one round, and alone for comparison."""
