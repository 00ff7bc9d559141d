"""VTAB-1K around the runs: its folders built from the original data sets, its average."""
