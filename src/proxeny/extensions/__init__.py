"""Built-in extensions, one module or folder each, and the table of their names."""
