"""What every machine gives: processes, durable files, progress, sudo, web servers.

Nothing here knows what Metis is for.
"""
