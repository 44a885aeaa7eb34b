"""The command line `binsr`: upscaling images, and what the published networks are, score and take."""
