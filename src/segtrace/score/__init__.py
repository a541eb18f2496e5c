"""Score predictions per case and label against the references of the data set."""
