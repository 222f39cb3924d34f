"""Everything that can go wrong, one class each.

A class states what the three readers of an error need: ``errno`` for the program that made the
system call, ``exit_status`` for the shell, ``level`` for the log.  The message names the culprit
and what to do about it, in one line.  Only ``fuse/operations`` and ``cli/__init__`` translate them.

Exit statuses are promised in docs/exit-status.md; they are grouped by tens: 10 mountpoint, 20 FUSE
on this machine, 30 the bucket and the way to it, 40 what the dataset says, 50 settings, 60 the
cache, 70 how it is doing, 75 the site.
"""

from __future__ import annotations

import errno
import logging
from typing import ClassVar


class VbofsError(Exception):
    """The family's head; never raised itself."""

    errno: int = errno.EIO
    exit_status: ClassVar[int] = 1
    level: int = logging.WARNING


class Refused(VbofsError):
    """A daemon reported an error of its own; *status* is the exit status that it stated."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


# --- the mountpoint


class MountpointMissing(VbofsError):
    """The mountpoint's parent does not exist, so it cannot be created."""

    exit_status = 10


class MountpointNotADirectory(VbofsError):
    """Something that is not a directory stands at the mountpoint."""

    exit_status = 11


class MountpointNotEmpty(VbofsError):
    """Mounting there would hide files."""

    exit_status = 12


class AlreadyMounted(VbofsError):
    """Something is mounted there already."""

    exit_status = 13


class MountpointStale(VbofsError):
    """A dead mount of another program stands there: "Transport endpoint is not connected"."""

    exit_status = 14


class NotMounted(VbofsError):
    """No vbofs is mounted there."""

    exit_status = 15


class MountpointDenied(VbofsError):
    """The mountpoint cannot be created, read or mounted on by this user."""

    exit_status = 16


class DaemonSilent(VbofsError):
    """Something is mounted, but its daemon does not answer."""

    exit_status = 17


class RecordRefused(VbofsError):
    """What is read there cannot be recorded, or is not, or its record cannot be written."""

    exit_status = 18


# --- FUSE on this machine


class FuseUnavailable(VbofsError):
    """/dev/fuse is missing or closed to this user."""

    exit_status = 20


class FusermountMissing(VbofsError):
    """An ordinary user needs fusermount3, and it is not installed."""

    exit_status = 21


class AllowOtherDenied(VbofsError):
    """--allow-other needs user_allow_other in /etc/fuse.conf."""

    exit_status = 22


class MountFailed(VbofsError):
    """The kernel or fusermount3 refused, for a reason that no other class knows."""

    exit_status = 23


class ChannelInvalid(VbofsError):
    """--fuse-fd does not name an open /dev/fuse."""

    exit_status = 24


class NeedsRoot(VbofsError):
    """Installing for the system, and mounting for others, is for root."""

    exit_status = 25


class UserUnknown(VbofsError):
    """There is no user of that name on this machine."""

    exit_status = 26


class InstallFailed(VbofsError):
    """A file could not be installed or removed, or a step of it failed."""

    exit_status = 27


# --- the bucket and the way to it


class RemoteError(VbofsError):
    """The object store did not give what was asked; the next attempt may succeed.

    *retryable* is stated by who knows: the class, where the protocol decides it.
    """

    exit_status = 36
    retryable: ClassVar[bool] = True


class BucketMissing(RemoteError):
    """There is no such bucket at that endpoint."""

    exit_status = 30
    retryable = False


class AccessDenied(RemoteError):
    """The bucket answered 403 and wants other credentials, or its certificate is not trusted."""

    errno = errno.EACCES
    exit_status = 31
    retryable = False


class WrongRegion(RemoteError):
    """The bucket is in another region than the one asked."""

    exit_status = 32
    retryable = False


class EndpointDown(RemoteError):
    """Nothing answers at the endpoint's address."""

    errno = errno.ENETUNREACH
    exit_status = 33


class NetworkUnreachable(RemoteError):
    """There is no way to the endpoint: no name service, no route."""

    errno = errno.ENETUNREACH
    exit_status = 34


class ClockSkewed(RemoteError):
    """This machine's clock is so far off that signatures or certificates are refused."""

    exit_status = 35
    retryable = False


class ObjectMissing(RemoteError):
    """The bucket no longer has that object version."""

    exit_status = 37
    retryable = False


class WrongResponse(RemoteError):
    """The answer is not exactly the range of the version that was asked for."""

    exit_status = 38


class Offline(RemoteError):
    """Asked for something that is not kept on disk, while told to stay off the network."""

    errno = errno.ENETUNREACH
    exit_status = 39
    level = logging.INFO
    retryable = False


# --- what the dataset says


class UnknownRelease(VbofsError):
    """No release of that name is published."""

    errno = errno.ENOENT
    exit_status = 40


class NoReleases(VbofsError):
    """The bucket answers, but holds no manifest for that project."""

    exit_status = 41


class ManifestInvalid(VbofsError):
    """A manifest is not what it must be; its release is left out."""

    exit_status = 42


class UnknownColumn(VbofsError):
    """No table of the release has that column or value, or there is no such table."""

    exit_status = 43


class QueryInvalid(VbofsError):
    """A query is not one: --where or --depth cannot be understood, or asks for more than a
    comparison."""

    exit_status = 44


class RecordInvalid(VbofsError):
    """A file is not a record of reads that can be trusted."""

    exit_status = 45


class TableInvalid(VbofsError):
    """A metadata table is not what it must be, or is too large."""

    exit_status = 46


class PrefetchIncomplete(VbofsError):
    """Not all that ``vbofs prefetch`` was to fetch could be had."""

    exit_status = 47


class VerifyMismatch(VbofsError):
    """``vbofs verify`` found cached bytes that are not what was published, or written."""

    exit_status = 48


class NotInDataset(VbofsError):
    """A path is no file of any release, or a name is none of the arrays in the files meant."""

    errno = errno.ENOENT
    exit_status = 49


# --- settings


class SettingsInvalid(VbofsError):
    """An option, a variable or the configuration file is wrong."""

    exit_status = 50


class CredentialsMissing(VbofsError):
    """The --profile named has no usable credentials."""

    exit_status = 51


class LogUnwritable(VbofsError):
    """The log file cannot be written."""

    exit_status = 52


class ExtraMissing(VbofsError):
    """The command needs packages that are not installed."""

    exit_status = 53


# --- the cache


class CacheUnwritable(VbofsError):
    """The cache directory cannot be created or written, or belongs to another user."""

    exit_status = 60


class CacheFull(VbofsError):
    """The disk under the cache directory has no space left."""

    exit_status = 61


class CacheTooNew(VbofsError):
    """The cache directory was made by a newer vbofs."""

    exit_status = 62


class PrefetchTooLarge(VbofsError):
    """It is a lot to fetch, and nobody is there to ask whether it is meant."""

    exit_status = 63


class CacheTooSmall(VbofsError):
    """More is to be kept than the cache may hold."""

    exit_status = 64


class ExportIncomplete(VbofsError):
    """Not all files could be exported, or none."""

    exit_status = 65


class ImportImpossible(VbofsError):
    """The directory to import from cannot be read."""

    exit_status = 66


class JobUnknown(VbofsError):
    """A daemon has no such job any more; commands begin it again, or do it themselves."""

    level = logging.INFO


# --- the site


class LowerCacheUnusable(VbofsError):
    """The lower cache is no cache of vbofs, or somebody who is not trusted can write there."""

    exit_status = 75


# --- how it is doing


class MetricsUnavailable(VbofsError):
    """The metrics cannot be offered where --metrics-port or --metrics-file says."""

    exit_status = 70


class ProblemsFound(VbofsError):
    """``vbofs doctor`` found something that keeps vbofs from working."""

    exit_status = 71


class BundleUnwritable(VbofsError):
    """The file that --bundle names exists already or cannot be written."""

    exit_status = 72


# --- inside a mount


class NoSuchName(VbofsError):
    """No such file or directory: no news."""

    errno = errno.ENOENT
    level = logging.DEBUG


class ReadOnly(VbofsError):
    """The file system cannot be written to."""

    errno = errno.EROFS
    level = logging.DEBUG


class BlockUnavailable(VbofsError):
    """A block that a reader waits for could not be had, for the reason that *cause* states."""

    def __init__(self, message: str, cause: Exception | None = None) -> None:
        super().__init__(message)
        if isinstance(cause, VbofsError):
            self.errno, self.level = cause.errno, cause.level
