"""`python -m helpers.labs.training_grid`: make the record, or what lacks of it."""

from helpers.labs.recorded import command
from helpers.labs.training_grid import RECORD, record

if __name__ == "__main__":
    command("training_grid", RECORD, record)
