"""Finding people: which pixels of a picture show one. Pure; the models are passed in as functions."""
