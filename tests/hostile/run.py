"""Makes bad inputs from a seed and gives them to kdnas; prints what came of them.

python tests/hostile/run.py --seed 0 --cases 600
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # each process that is forked reads this file, too
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    from hostile.session import main

    sys.exit(main())
