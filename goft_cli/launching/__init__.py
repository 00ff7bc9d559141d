"""One process or several for a run: asked for, checked, started, joined, shared out."""
