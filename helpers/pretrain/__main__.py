"""`python -m helpers.pretrain`."""

import sys

from helpers.pretrain import main

if __name__ == "__main__":
    sys.exit(main())
