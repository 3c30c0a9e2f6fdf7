"""Compare graphopt's command line with its peers: what is left, what it costs, how it grows."""
