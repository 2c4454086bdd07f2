"""One tab of the page a file: what is on it, and what its clicks do."""
