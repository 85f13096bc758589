"""Jobs as operating-system processes: the local pool, ranks of one run, Slurm and Ray."""
