"""A model behind an inference server: its repository, and the servers that offer it."""
