"""`python -m pipeline` is `binsr`."""

from pipeline.cli.app import main

if __name__ == "__main__":
    main()
