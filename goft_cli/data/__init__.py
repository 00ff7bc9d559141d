"""From bytes to tables to rows: formats, files, sources, columns; files of the hub."""
