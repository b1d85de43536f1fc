"""Who may call: keys and quotas, and which requests of browsers are taken."""
