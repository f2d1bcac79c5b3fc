"""A folder on a local disk, a USB drive or a mounted share: the yardstick for every other backend.

A file is written beside its final name as ``.hotshoe-<token>.part``, synced, read back past the page cache and
hashed, and then given its name by a rename that refuses to replace anything; its folder is synced last. Nothing
below the root is reached through a symbolic link, and no key can name anything outside of the root.

Linux only: it leans on flock, directory descriptors and posix_fadvise. What it cannot see past is the cache
inside the drive itself.
"""

from agent.backends.folder.config import FolderConfig

__all__ = ["FolderConfig"]
