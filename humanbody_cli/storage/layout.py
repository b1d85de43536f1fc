"""The output folder's layout: which files and folders are where."""

from __future__ import annotations

MASKS = "masks"


CUTOUTS = "cutouts"


ASIDE = "replaced"
"""The folder, in the state folder, of results that wait for the photo they were made of."""


STATE = ".hbseg"
"""The folder in an output tree where its state lives."""


RESULTS = ("masks", "cutouts", "recomposed")
"""The folders of an output tree that hold what was made."""


RECOMPOSED_MARK = ".hbseg-recomposed"
"""An empty file in each folder that holds recomposed cutouts, wherever `hbseg recompose` put it."""


LOCK = "lock"
