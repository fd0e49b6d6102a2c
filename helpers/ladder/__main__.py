"""`python -m helpers.ladder`: climb, print the table, write the record."""

from helpers.ladder._command import main

if __name__ == "__main__":
    raise SystemExit(main())
