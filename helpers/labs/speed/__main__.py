"""`python -m helpers.labs.speed`: run the ablation, print its table, write its record."""

from helpers.labs.speed.command import main

if __name__ == "__main__":
    raise SystemExit(main())
