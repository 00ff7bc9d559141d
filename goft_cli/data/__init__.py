"""Data: file formats, sources, tables and their columns, and the hub's files."""
