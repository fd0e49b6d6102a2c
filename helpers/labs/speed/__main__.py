"""`python -m helpers.labs.speed`: climb, print the table, write the record."""

from helpers.labs.speed._command import main

if __name__ == "__main__":
    raise SystemExit(main())
