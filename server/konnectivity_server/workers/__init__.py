"""Workers: the processes of `--workers=N`, their supervisor, and one answer merged from those of all workers."""
