"""The key's quota: filled and never fought.

`learning` knows the figures (pure), `slots` and `pacer` space the starts, `breaker` notices a
server that only fails, and `gate` is what every attempt passes.
"""
