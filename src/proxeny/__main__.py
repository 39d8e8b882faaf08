"""``python -m proxeny``: the same command line."""

import sys

from proxeny.cli import main

sys.exit(main())
