"""Kernels for AVX-512 with VBMI and VNNI: lanes are output channels."""
