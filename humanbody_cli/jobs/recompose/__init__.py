"""``hbseg recompose``, and composed pictures straight from ``hbseg segment``."""
