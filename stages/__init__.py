"""The pipeline's stages: each a program that reads params.yaml and the outputs of earlier stages."""

import gc

gc.set_threshold(100_000)  # what a stage imports is no garbage; with PyTorch, looking for it takes a second
