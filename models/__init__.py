"""The mathematics: no I/O, no clock; generators and seeds are passed in."""
