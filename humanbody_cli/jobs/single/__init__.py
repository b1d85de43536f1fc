"""``hbseg segment`` of one photo to one file, or to stdout: no output folder, no journal."""
