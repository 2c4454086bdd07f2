"""The HTTP service: what it keeps, what it answers with, and what it lets in."""
