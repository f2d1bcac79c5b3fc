"""A share of a Windows computer, a NAS or Samba: SMB 2.0.2 to 3.1.1, and never SMB 1.

Every message is signed unless that is switched off, and then too where the server asks for it; an answer without
the signature that was agreed ends the connection. Encryption is used where the share demands it, or always if the
settings say so. One TCP connection per upload: a handle whose server stalls is fenced by resetting its connection.

The account needs to list the folder, to create, read and write files in it, and to delete and rename those that
it made itself ("Modify" on Windows). Nothing else on the server is touched.

What the proof is worth: before it is read back, the file is flushed, which servers answer once their disk has it
(Samba by default, "strict sync"); reading back then shows what the server keeps, though it may take it from its own
memory. The rename that publishes refuses to replace; between two clients of one server that is the server's promise.
"""

from agent.backends.smb.config import SmbConfig

__all__ = ["SmbConfig"]
