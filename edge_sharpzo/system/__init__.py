"""The machine and its operating system: memory, cores, files, errors, stopping."""
