"""Everything that runs on Ray: the driver, the trials and their workers, the mailbox between them, progress."""
