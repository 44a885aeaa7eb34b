"""How a network is scored, whatever runs it."""
