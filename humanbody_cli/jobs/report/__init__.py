"""``hbseg report``: a page for looking through the results, as one HTML file and its thumbnails."""
