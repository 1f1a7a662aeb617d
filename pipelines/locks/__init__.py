"""One process at a time in a folder, on local disks, over NFS and in object stores."""
