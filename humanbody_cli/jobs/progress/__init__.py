"""What a command tells while it works and at its end: progress, log file, summary, its course."""
