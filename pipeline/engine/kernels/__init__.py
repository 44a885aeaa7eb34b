"""The compiled kernels and what prepares filters and images for them."""
