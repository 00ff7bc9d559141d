"""Defaults of the method that the tuner and the configuration share; neither may import the other.

The tuner imports PEFT, which reading a configuration must not wait for.
"""

PENALTY_WEIGHT = 0.01
"""Weight of qGOFT's penalty where nobody gives one; the paper takes 0.001 to 0.05."""
