"""Display of `konnectivity top`.

snapshots    requests to the servers' admin ports
board        the latest snapshots, rates and losses (pure)
figures      short forms of numbers (pure)
screen       a board as rich's tables
key_presses  keys typed meanwhile
"""
