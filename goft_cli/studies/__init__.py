"""What verbs on several runs share: run a set of runs, sweeps, statistics, leaderboard."""
