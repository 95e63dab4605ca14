"""The demonstration behind ``make demo``: questions answered over real documents, in this process."""
