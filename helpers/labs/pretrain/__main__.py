"""`python -m helpers.labs.pretrain`."""

import sys

from helpers.labs.pretrain import main

if __name__ == "__main__":
    sys.exit(main())
