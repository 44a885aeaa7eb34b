"""Scoring networks, with any backend."""
