"""What data sets of pairs cost and are worth."""
