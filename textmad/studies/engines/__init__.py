"""Where the runs of a study are computed: local processes, Ray, Slurm."""
