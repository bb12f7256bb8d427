"""The audit room: what a trained model shows of canaries, against what is claimed."""
