"""Adapters side by side on one task: runs, their budgets, statistics over seeds, table, figure."""
