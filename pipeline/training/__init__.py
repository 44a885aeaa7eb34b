"""How a network is trained, float and binary alike."""
