"""Models that nobody made for graphopt, through every pass."""
