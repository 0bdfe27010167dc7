"""Statistics over seeds. Nothing here knows of runs, recipes or pages; arrays in, numbers out."""
