"""The command `python -m pipeline.engine.bench`; `pipeline.commands.bench` implements it."""

from pipeline.commands.bench import main
from pipeline.errors import one_line_errors

if __name__ == "__main__":
    with one_line_errors():
        main()
