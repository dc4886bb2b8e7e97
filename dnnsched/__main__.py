"""``python -m dnnsched``."""

import sys

from dnnsched.cli import main

sys.exit(main())
