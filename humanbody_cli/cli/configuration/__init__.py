"""Where the values of options come from besides the command line: settings file, credentials."""
