"""`python -m helpers.labs.changes`: make the record, or what lacks of it."""

from helpers.labs.changes import RECORD, record
from helpers.labs.recorded import command

if __name__ == "__main__":
    command("changes", RECORD, record, n_threads=1)
