"""Finding photos: folders, lists, stdin and addresses."""
