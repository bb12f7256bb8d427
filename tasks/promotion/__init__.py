"""Whether a retrained model takes the champion's place: gate, and a person's word."""
