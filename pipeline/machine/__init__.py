"""What every machine gives: processes, durable files, progress, sudo.

Nothing here knows what Metis is for.
"""
