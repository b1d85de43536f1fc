"""Every error that a user can cause: a table of commands, and what each must say."""
