"""From a silo's interactions to training sequences, inside the silo."""
