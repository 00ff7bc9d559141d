"""Public path, which model cards name: the folder of a model that ships with the package."""

from goft_cli.system.locations import asset_dir

__all__ = ["asset_dir"]
