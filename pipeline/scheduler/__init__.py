"""Work that is sent to other machines, by Dask (dask.distributed); what the work is, nobody here knows."""
