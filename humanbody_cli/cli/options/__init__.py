"""The options that commands share, by subject: each group becomes one frozen settings object."""
