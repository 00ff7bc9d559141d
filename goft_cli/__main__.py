"""`python -m goft_cli VERB ...`, also what launchers start."""

from goft_cli.cli import entry_point

if __name__ == "__main__":
    entry_point()
