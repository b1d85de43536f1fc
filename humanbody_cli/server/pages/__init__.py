"""The pages that are not the API: the upload page, its files, health and metrics."""
