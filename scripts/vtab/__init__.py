"""Build VTAB-1K's folders from the original data sets, and average the scores of its tasks."""
