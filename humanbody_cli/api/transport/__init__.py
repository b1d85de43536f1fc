"""The way to the API: HTTP, and the sockets below it."""
