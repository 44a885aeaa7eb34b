"""A reproducible benchmark of binarized super-resolution (Ma et al., CVPRW 2019, arXiv 1812.06378)."""
