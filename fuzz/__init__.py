"""Machines that look for what breaks the package: ``python -m fuzz --help``."""
