"""acquire: archives from a mirror folder or their published addresses, checked, unpacked, and receipted."""
