"""Errors that no command of the table shows, each with the reason: other tests meet them."""

from __future__ import annotations

LIBRARY = (
    "jobs/python/background.py: this Segmenter was closed; open another",
    "jobs/python/background.py: this Segmenter was opened before the process was forked; ope",
    "jobs/python/folder.py: a folder must be given by its path, not as {}",
    "jobs/python/options.py: edges must be hard or soft, not {}",
    "jobs/python/options.py: people must be all or main, not {}",
    "jobs/python/options.py: model must be the path of an ONNX file, not {}",
    "jobs/python/options.py: api must be an Api with a key and a secret, not {}",
    "jobs/python/options.py: the API does not use a model of your own; leave out api or m",
    "jobs/python/options.py: {} must be True or False, not {}",
    "jobs/python/options.py: {} must be numbers such as (0.5, 0.5, 0.5)",
    "jobs/python/options.py: {} must be a whole number of at least {} and at most {}, not",
    "jobs/python/options.py: Api: api_key and api_secret must be text",
    "jobs/python/options.py: endpoint {} is not text such as {}",
    "jobs/python/photos.py: a photo must be bytes, a path or a PIL image, not {}; give t",
    "jobs/python/photos.py: {} is an address; fetch the photo and give its bytes",
    "jobs/python/photos.py: it has no pixels",
    "jobs/python/photos.py: cannot be used: {}; open it again, or convert it to RGB",
    "jobs/python/results.py: background must be a colour (white, #1e90ff, (30, 144, 255))",
    "jobs/python/results.py: margin must be a number from 0 to {}, not {}",
    "jobs/python/options.py: there is no option {}; the options are {}",
    "jobs/python/photos.py: the memoryview of this photo was released; give one that is ",
)
"""A call of the library with a wrong argument: tests/jobs/test_library.py and its neighbours."""

MACHINE = (
    "cli/commands/serve.py: hbseg serve needs {}: {}",
    "cli/configuration/example.py: this user has no folder for settings; name a file with --con",
    "core/errors.py: no engine: install the embedded one ({}), or set HBSEG_API_K",
    "core/errors.py: the embedded engine is installed but cannot be loaded: {}; a",
    "core/errors.py: {}; raise the limits on memory (ulimit -v) and processes (ul",
    "core/errors.py: --edges soft needs numpy: {}, or use --edges hard",
    "jobs/setup/assembly.py: the limit on open files (ulimit -n) is {}, and a run needs a",
    "jobs/single/run.py: -o - writes a picture, and stdout is a terminal; redirect it",
    "jobs/watching/reports.py: {}: the system cannot report changes here: {}; raise the lim",
    "jobs/watching/watch.py: hbseg watch needs watchfiles: {}, or use --poll to look thro",
    "server/main.py: worker {} cannot be started: {}; give fewer --workers, or ra",
    "server/metrics.py: no temporary folder can be written ({}); set TMPDIR to one t",
)
"""Another machine or installation: an extra, a home, a terminal, memory or threads lacking."""

MOMENT = (
    "api/gate.py: the server keeps failing, so the run stopped: {}",
    "core/errors.py: the time limit (--max-duration) is reached; run the same com",
    "core/paths.py: {}: a relative path, and the current folder has been deleted",
    "server/main.py: worker {} died while it started",
    "storage/tables/database.py: {} keeps changing; try again when the run that uses it has e",
    "storage/tables/database.py: {} was left open by a run, and there is no room for a copy o",
)
"""Something that has to happen at the right moment, or takes its time."""

LARGE = (
    "discovery/lists.py: --from-file: a list this long needs a temporary file, which ",
    "discovery/sources.py: it is larger than {} bytes, the most allowed; use --fit to h",
    "imaging/decoding.py: there is not enough memory to decode it; shrink the photo or",
    "imaging/decoding.py: it has more pixels than this program lets Pillow open (PIL.I",
    "imaging/uploads.py: {} x {} pixels are more than --fit accepts ({}); shrink the ",
    "imaging/uploads.py: {} bytes make a request of {}: at most {} are allowed; use -",
    "imaging/uploads.py: {} bytes are more than --fit accepts ({}); shrink the photo ",
    "imaging/uploads.py: turned upright, the photo is larger than 2 MB; use --fit to ",
    "jobs/recompose/recipes.py: a {} has at most {} pixels per side, and this cutout has {} ",
    "storage/publishing.py: cannot write {}: the disk is full: {} MB are free, and a pho",
)
"""A picture, list or disk of a size that would take long to make."""

EARLIER = (
    "cli/configuration/settings_file.py: {} is a number of too many digits; shorten it",
    "embedded/ort.py: there is no model file {}; check --model",
    "embedded/ort.py: {} failed on a picture: {}; check --model",
    "embedded/presets.py: --side must be at least 1 pixel, not {}",
    "jobs/setup/checks.py: --model {} is not a file's path; give an .onnx file",
)
"""Something that an earlier check says in nearly all cases."""

SERVER = (
    "server/photos/inference.py: too many pixels",
    "server/photos/inference.py: neither JPG nor PNG",
)
"""An answer of the server to its client, in the API's own words."""

HISTORY = (
    "jobs/recompose/batch.py: came from stdin and was not kept; give it as a file",
    "jobs/recompose/batch.py: the photo has changed since its mask was made; run hbseg seg",
    "jobs/recompose/target.py: {} belongs to another photo: both names are the same on this",
    "jobs/recompose/target.py: --into {}: {} is one of the photos; choose another folder",
    "jobs/report/place.py: cannot write {}: hbseg did not make what is there; {}",
    "jobs/single/place.py: cannot write {}: there is a folder of this name; give -o FIL",
    "pipeline/photo_steps.py: cannot be composed: {}; report this with the photo",
    "storage/ownership.py: {}; move it away or choose another output folder, then run a",
)
"""Results that were changed, or photos that were replaced, since an earlier run."""

ELSEWHERE = frozenset(LIBRARY + MACHINE + MOMENT + LARGE + EARLIER + SERVER + HISTORY)
