"""The run folder, complete runs, reports, and merging of runs."""
