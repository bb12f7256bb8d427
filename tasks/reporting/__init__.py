"""The room where a run becomes something a person can read and decide on."""
