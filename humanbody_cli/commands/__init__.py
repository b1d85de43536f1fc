"""The commands of ``hbseg``, one a module: options become settings, settings a run, a run its exit
code. A module imports nothing heavy at its top."""
