"""What `konnectivity top` shows.

collect     asks a server, on its admin port
board       what all servers said, and what follows from it: rates, losses. Pure
figures     numbers as people read them. Pure
screen      a board as rich's tables
keys        what is typed meanwhile
"""
