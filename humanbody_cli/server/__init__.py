"""The HTTP service: processes, connections, requests, and what each API call answers."""
