"""An FTP server, with encryption (explicit or implicit TLS) unless the settings say otherwise.

Rights that the login needs: upload, download, rename, delete, make and list folders, all below the destination's
folder. Without download set the wanted proof to size.

What its proof is worth: the protocol computes no checksum that could be relied on, so each file is downloaded
again and its SHA-256 compared (readback); what comes back may come from the server's memory, and that it has
reached the disk is not something that FTP can say. The protocol cannot refuse to overwrite either: RNTO replaces
silently at most servers, and the others look first and rename then. So a receipt always says ``checked``: we looked
right before the rename, and another writer of the same name could slip between. Names that are ours alone (a
folder per site or camera) close that gap.
"""

from agent.backends.ftp.config import FtpConfig

__all__ = ["FtpConfig"]
