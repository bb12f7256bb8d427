"""How the global model moves: initialise, update, accept or keep."""
