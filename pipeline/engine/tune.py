"""The command `python -m pipeline.engine.tune`; `pipeline.commands.tune` implements it."""

from pipeline.commands.tune import main
from pipeline.program import run_program

if __name__ == "__main__":
    run_program(main)
