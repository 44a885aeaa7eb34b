"""Kernels for any processor: lanes are pixels."""
