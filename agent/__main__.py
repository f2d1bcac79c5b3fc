"""`python -m agent`: the command line without its installed name."""

import sys

from agent.cli import main

sys.exit(main())
