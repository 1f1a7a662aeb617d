"""Results in an object store: OUT is a URL, and work is done in folders on local disks."""
