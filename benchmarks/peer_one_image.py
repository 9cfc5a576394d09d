"""One image as a good script by hand makes it: copy, one appliance, a tar for each file system, block map.

python peer_one_image.py TARGET BASE ACCELERATOR PARTITION:TAR...

It knows beforehand what Metis finds out: where the file systems are and what goes into them. It shares no
code with Metis, and has the same options for the appliance and its drive.
"""

import subprocess
import sys

import guestfs


def main(target: str, base: str, accelerator: str, *archives: str) -> None:
    subprocess.run(["cp", "--sparse=always", base, target], check=True)  # noqa: S607
    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_backend("direct")
    if accelerator == "tcg":
        handle.set_backend_settings(["force_tcg"])
    handle.add_drive_opts(target, format="raw", cachemode="unsafe")
    handle.launch()
    for archive in archives:
        partition, _, tar = archive.partition(":")
        handle.mount(f"/dev/sda{partition}", "/")
        handle.tar_in(tar, "/")
        handle.umount_all()
    handle.shutdown()
    handle.close()
    words = ["bmaptool", "--quiet", "create", "--output", f"{target}.bmap", target]
    subprocess.run(words, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
