"""The command `python -m pipeline.engine.tune`; `pipeline.commands.tune` implements it."""

from pipeline.commands.tune import main
from pipeline.errors import one_line_errors

if __name__ == "__main__":
    with one_line_errors():
        main()
