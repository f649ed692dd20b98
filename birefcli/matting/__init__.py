"""One photo through the network: alpha, and the colour of the subject."""
