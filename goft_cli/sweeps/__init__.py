"""Sweeps: Hydra multiplies the words out, each job runs in a process of its own.

A job that fails is shown and leaves the others alone; a job whose run is finished is kept. So the
same command, given again after an interruption, runs only what is missing.
"""
