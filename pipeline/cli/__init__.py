"""The command line `binsr`: upscale images; list, describe and time the published networks; compare images."""
