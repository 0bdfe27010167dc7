"""Statistics: arrays in, numbers out. Nothing here knows of runs, recipes or pages."""
