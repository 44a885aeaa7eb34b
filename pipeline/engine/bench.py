"""The command `python -m pipeline.engine.bench`, which is written in `pipeline.commands`."""

from pipeline.commands.bench import main
from pipeline.program import run_program

if __name__ == "__main__":
    run_program(main)
