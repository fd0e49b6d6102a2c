"""`python -m helpers.labs.pretrain`."""

import sys

import torch._dynamo  # noqa: F401  # which the first optimizer would load: without memory for it nothing has begun

from helpers.labs.pretrain import main

if __name__ == "__main__":
    sys.exit(main())
