"""A folder on a server that speaks SFTP: any machine with OpenSSH, most NAS boxes, many hosting and photo desks.

A file is written beside its place, read back and hashed, and renamed with the plain rename of the protocol, never
with posix-rename, which replaces. OpenSSH renames by a hard link where the disk has them, and so refuses to replace
an existing file in one step; other servers, and disks without hard links, look first and rename then, which is why
only the former counts as atomic.

The server must be known before anything is sent: by a file of known hosts or by the fingerprint of its key. Neither
`~/.ssh`, nor an agent, nor default keys are ever used.

The rights it needs: a login for SFTP alone is enough (``ForceCommand internal-sftp``, with or without a chroot),
which may list, make folders, write, rename and delete below the destination's folder.
"""

from agent.backends.sftp.config import SftpConfig

__all__ = ["SftpConfig"]
