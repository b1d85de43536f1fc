"""One photo from its bytes to its row, and many photos at once."""
