"""The published networks: how they are trained, what they score, and how anyone can check it."""
