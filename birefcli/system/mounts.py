"""Which disk a folder is on: whether that is a network's, and whether it is mounted still."""

import os
import re
from pathlib import Path

from birefcli.system.paths import real_path

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "ncpfs", "lustre", "gpfs"),
        *("virtiofs", "vboxsf", "drvfs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse"),
        *("fuse.glusterfs", "fuse.davfs", "davfs", "fuse.cephfs", "fuse.vmhgfs-fuse"),
        *("fuse.mount-s3", "beegfs", "fuse.juicefs", "fuse.grpcfuse", "fuse.goofys"),
    }
)
"""Types of file systems that others write to as well, of which the system tells no events."""


def network_type(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """The type of a folder's file system where it is a network's; None for others and unknown.

    ``mounts``: the system's table of them, of Linux alone.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    at, kind = "", ""
    here = str(real_path(folder))
    for line in lines:
        before, _, after = line.partition(" - ")
        words, told = before.split(" "), after.split(" ")
        point = _unescaped(words[4]) if len(words) > 4 else ""
        # Of two on one another, the one that is told later is on top.
        if len(point) >= len(at) and _is_below(here, point):
            at, kind = point, told[0]
    return kind if kind in NETWORK else None


def _unescaped(text: str) -> str:
    """Spaces and such are written as ``\\040``."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _is_below(path: str, folder: str) -> bool:
    return bool(folder) and (path == folder or path.startswith(folder.rstrip("/") + "/"))


def mount_point(folder: Path) -> Path:
    """Where the disk of a folder is mounted: itself, or the first of its parents that is so."""
    here = real_path(folder)
    return next((p for p in (here, *here.parents) if os.path.ismount(p)), Path(here.anchor))


class MountedFolder:
    """A folder that may come to be missing, or whose disk may.

    Where a disk is no longer mounted, the folder at its mount point is another, on another disk.
    """

    def __init__(self, path: Path) -> None:
        """Of a folder that is there. Raises OSError."""
        self.path = path
        self._identity: tuple[int, int] | None = None
        self._remember()

    def _remember(self) -> None:
        status = self.path.stat()
        self._identity = (status.st_dev, status.st_ino)
        self._mount = mount_point(self.path)

    def trouble(self) -> str | None:
        """Why the folder is of no use just now; None where it is."""
        try:
            status = self.path.stat()
            if (status.st_dev, status.st_ino) == self._identity:
                return None
            if self._mount.is_relative_to(mount := mount_point(self.path)) and mount != self._mount:
                return f"the disk at {self._mount} is not mounted"
            os.scandir(self.path).close()
        except OSError as error:
            return error.strerror or str(error)
        return None

    def is_another(self) -> bool:
        """Whether the folder has been replaced since the last time it was asked, or has gone."""
        before = self._identity
        try:
            self._remember()
        except OSError:  # whatever is there next is another
            self._identity = None
            return True
        return before != self._identity
