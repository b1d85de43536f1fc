"""The HumanBody Segment API V2 on this machine, answered by an engine of our own.

A request's way: `doors` (connections) -> `app` (routes) -> `exchange` (body in, answer out) ->
`forms` -> `keys` -> `moods` -> `arguments` (with `fetch` for addresses) -> `studio` (the engine).
"""
