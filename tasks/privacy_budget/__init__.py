"""What every person's data was used for: charged before the use, for ever."""
