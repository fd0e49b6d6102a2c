"""Fetch published models by name: python -m helpers.storage.weights smollm2-135m. One line each says how it ended."""

import sys

from helpers.storage.weights.hub import fetch


def main(names: list[str]) -> int:
    for name in names:
        try:
            print(f"{name}: {fetch(name)}")
        except (OSError, ImportError, ValueError) as error:  # ConnectionError is an OSError
            print(f"{name} is missing: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
