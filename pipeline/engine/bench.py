"""The command `python -m pipeline.engine.bench`; `pipeline.commands.bench` implements it."""

from pipeline.commands.bench import main
from pipeline.program import run_program

if __name__ == "__main__":
    run_program(main)
