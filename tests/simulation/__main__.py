"""Command line of the simulation. Replaces the machine before anything imports the product.

python -m simulation --seed 17             one run, with its trace
python -m simulation --plan plan.json      a stored plan
python -m simulation --minutes 3           random seeds, one after another
python -m simulation --walk 3              every state of two connections with three packets each way
"""

from __future__ import annotations

import gc
import sys

from simulation.machine import install

if __name__ == "__main__":
    install()
    from simulation.commands import main

    gc.freeze()
    sys.exit(main(sys.argv[1:]))
