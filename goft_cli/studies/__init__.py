"""What studies of several runs share: tables, statistics of small samples, figures."""
