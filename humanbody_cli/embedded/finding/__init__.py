"""Finding people: which pixels of a picture show one. Pure; models are passed in as functions."""
