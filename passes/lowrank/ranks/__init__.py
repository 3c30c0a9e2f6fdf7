"""What each layer could become at which price, and the rules that choose."""
