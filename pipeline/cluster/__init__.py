"""The pipeline on a Dask cluster."""
