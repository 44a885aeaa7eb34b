"""The command `python -m pipeline.training_speed`, which is written in `pipeline.commands`."""

from pipeline.commands.training_speed import main
from pipeline.program import run_program

if __name__ == "__main__":
    run_program(main)
