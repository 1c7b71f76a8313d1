"""What the daemon and its clients say to each other, and how it is framed."""
