"""hbseg as a library: ``from humanbody_cli import segment, segment_async, Segmenter``.

Nothing of the process is changed here: no signal handler, no environment, no output, no log.
"""
