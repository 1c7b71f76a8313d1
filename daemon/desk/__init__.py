"""What the daemon does for its clients: takes jobs in, lists, explains, changes, waits."""
