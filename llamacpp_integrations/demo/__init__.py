"""The demonstration that ``make demo`` runs: questions answered over real documents, in this process."""
