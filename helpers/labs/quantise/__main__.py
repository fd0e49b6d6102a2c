"""`python -m helpers.labs.quantise`: make the record, or what lacks of it. It takes some minutes."""

from helpers.labs.quantise import RECORD, record
from helpers.labs.recorded import command

if __name__ == "__main__":
    command("quantise", RECORD, record)
