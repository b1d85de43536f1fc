"""Commands that read and print, and change nothing: check, plan, status."""
