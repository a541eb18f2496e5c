"""compare: from the scores of an experiment's runs to its tables."""
