"""Start the appliance from its single file: check this Python, unpack once, run.

This file is ``__main__.py`` of ``appliance.pyz``. It must parse on Python 3.6, because its first duty is to tell an
old interpreter in one clear line what to install. Compiled modules cannot be loaded from inside a zip, so the file
unpacks itself into a cache directory named by its content and runs from there, in this same process: a second
interpreter start would cost more than everything else that ``--help`` does, and a service manager sees one process.
"""

# First of all, before a module from the current directory or PYTHONPATH could be taken for one of Python's own.
import sys

_given_path = list(sys.path)
if sys.version_info >= (3, 11):  # there `os` is built in, and knows where the standard library lies
    import os

    _library = os.path.dirname(os.__file__)
    sys.path[:] = [_library, os.path.join(_library, "lib-dynload")]
else:
    import os

import errno
import json
import stat

UNUSED_SECONDS = 30 * 24 * 3600
"""A cache that no process has started from for so long is removed when another one is made."""
ABANDONED_SECONDS = 3600
"""What an interrupted start left half unpacked is removed after this time."""


class Unusable(Exception):
    """A cache directory cannot be used; the message says why."""


def fail(message):
    """Print one line and leave with status 1."""
    sys.stderr.write("appliance: %s\n" % message)
    raise SystemExit(1)


# --- this Python -------------------------------------------------------------------------------------------------


def running_version():
    """Return ``3.11`` for Python 3.11.7."""
    return "%d.%d" % sys.version_info[:2]


def package_advice(os_release="/etc/os-release"):
    """Name the package that brings a supported Python to this system."""
    facts = {}
    try:
        with open(os_release) as lines:
            for line in lines:
                key, _, value = line.strip().partition("=")
                facts[key] = value.strip("\"'")
    except OSError:
        pass
    names = [facts.get("ID", ""), *facts.get("ID_LIKE", "").split()]
    by_release = {"debian 13": "python3.13", "ubuntu 24.04": "python3.12", "debian 12": "python3.11"}
    if "debian" in names or "ubuntu" in names:
        release = "%s %s" % (names[0], facts.get("VERSION_ID", ""))
        return "apt install " + by_release.get(release, "python3.11")
    if "fedora" in names or "rhel" in names:
        return "dnf install python3.12"
    if "suse" in names or "opensuse" in names:
        return "zypper install python311"
    return "install the python3.11, python3.12 or python3.13 package of your system"


def other_interpreter(versions):
    """Return the path of a supported interpreter on this machine, or None; it is run once to be sure."""
    import subprocess

    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/local/bin", "/usr/bin"]
    for version in reversed(versions):
        for folder in folders:
            program = os.path.join(folder, "python" + version)
            if not os.path.isabs(folder) or not os.access(program, os.X_OK):
                continue
            check = "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '" + version + "')"
            try:
                done = subprocess.Popen(
                    [program, "-I", "-c", check],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            except OSError:
                continue
            if done.wait() == 0:
                return program
    return None


def check_python(facts):
    """Leave with one line unless this interpreter is one the file was built for."""
    versions = facts["python"]
    wanted = "%s or %s" % (", ".join(versions[:-1]), versions[-1])
    if sys.implementation.name == "cpython" and running_version() in versions:
        return
    kind = "Python" if sys.implementation.name == "cpython" else sys.implementation.name
    line = "needs Python %s; this is %s %d.%d.%d." % (wanted, kind, *sys.version_info[:3])
    found = other_interpreter(versions)
    if found:
        fail("%s Found %s: run %s %s" % (line, found, found, " ".join(sys.argv)))
    fail("%s To get it: %s" % (line, package_advice()))


def glibc_version(confstr=os.confstr):
    """Return this system's glibc version, or None on another C library such as musl."""
    try:
        name, _, version = (confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return None
    numbers = version.split(".")[:2]
    return tuple(int(number) for number in numbers) if name == "glibc" and len(numbers) == 2 else None


def check_system(facts, glibc):
    """Leave with one line where the compiled parts cannot be loaded: another processor, another C library."""
    machine = os.uname().machine
    if machine != facts["machine"] or sys.maxsize < 2**32:
        bits = "" if sys.maxsize > 2**32 else " with a 32-bit Python"
        fail("this file is for %s; this machine is %s%s. Get the file for it." % (facts["machine"], machine, bits))
    needed = tuple(facts["glibc"])
    if glibc is None:
        fail(
            "needs the GNU C library, and this Python uses another one (musl, as on Alpine). "
            "Run it with the python3 package of Debian 12 or Ubuntu 24.04, or in a container of these."
        )
    if glibc < needed:
        fail("needs the GNU C library %d.%d or newer; this system has %d.%d. Upgrade libc6." % (needed + glibc))


# --- what may be imported ------------------------------------------------------------------------------------------


def clean_path(given):
    """Keep what ``python -I`` would keep of an import path: the interpreter's own folders, and nothing else.

    Nothing from the current directory, PYTHONPATH or the person's own site-packages can then be imported by accident.
    """
    library = os.path.dirname(os.__file__)
    own = [library, os.path.join(library, "lib-dynload")]
    if sys.flags.isolated:
        foreign = set()
    else:
        foreign = {os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    personal = os.path.join(os.path.expanduser("~"), ".local", "")
    archive = os.path.abspath(sys.argv[0])
    for entry in given:
        absolute = os.path.abspath(entry)
        skip = absolute in foreign or absolute == archive or absolute.startswith(personal)
        if os.path.isabs(entry) and not skip and absolute not in own and not absolute.endswith(".pyz"):
            own.append(absolute)
    return own


def forget_archive():
    """Let go of the file's own directory: 1,900 entries, a megabyte, and nothing is read from it any more."""
    global __loader__
    import zipimport

    zipimport._zip_directory_cache.clear()
    __loader__ = __spec__.loader = None


def forget(roots):
    """Drop modules of our names that a ``.pth`` or ``sitecustomize`` has imported from elsewhere."""
    for name in list(sys.modules):
        if name.partition(".")[0] in roots:
            del sys.modules[name]


# --- the cache -----------------------------------------------------------------------------------------------------


def check_folder(path, owners, shared=False):
    """Raise `Unusable` unless nobody but its owner, one of ``owners``, can change what lies in a directory.

    ``shared`` allows a sticky directory such as /tmp: there others may add entries, but not replace ours.
    """
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise Unusable("%s is not a directory" % path)
    if found.st_uid not in owners:
        raise Unusable("%s belongs to uid %d" % (path, found.st_uid))
    if found.st_mode & 0o022 and not (shared and found.st_mode & stat.S_ISVTX):
        raise Unusable("%s can be written by others" % path)


def check_way(path, uid):
    """Raise `Unusable` when somebody else could put another directory in the place of one on the way to a path."""
    check_folder(path, {uid, 0}, shared=True)
    if path != "/":
        check_way(os.path.dirname(path), uid)


def check_cache(path, uid):
    """Raise `Unusable` unless a cache directory is ours alone, on a path nobody else can redirect, and may run code."""
    check_folder(path, {uid})
    check_way(os.path.dirname(path), uid)
    check_exec(path)


def check_exec(path):
    """Raise `Unusable` where compiled modules cannot be loaded from."""
    if os.statvfs(path).f_flag & os.ST_NOEXEC:
        raise Unusable("%s is on a file system mounted noexec" % path)


def candidates(uid, environment):
    """Yield where a cache may be, best first."""
    if uid == 0:
        yield "/var/cache/appliance"
        return
    home = environment.get("HOME", "")
    if "SUDO_UID" in environment:  # HOME and XDG_CACHE_HOME may still be those of the person who typed sudo
        import pwd

        try:
            home = pwd.getpwuid(uid).pw_dir
        except KeyError:
            home = ""
    elif os.path.isabs(environment.get("XDG_CACHE_HOME", "")):
        yield os.path.join(environment["XDG_CACHE_HOME"], "appliance")
    if os.path.isabs(home):
        yield os.path.join(home, ".cache", "appliance")


def open_cache(path, uid):
    """Make a cache directory if need be; return its real path, or raise `Unusable`."""
    try:
        # The last step must be a directory itself; the way to it may hold links, of which the targets are checked.
        path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        try:
            os.lstat(path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                pass  # another start was quicker; it is checked below as any other
        check_cache(path, uid)
        if uid == 0:
            os.chmod(path, 0o755)  # noqa: S103  see `share`; an older build has made it for root alone
    except OSError as error:
        raise Unusable("%s: %s" % (path, error.strerror))
    return path


class Lock:
    """An exclusive lock on a file, where the file system has locks; without them starts may only do work twice."""

    def __init__(self, path):
        self.path = path
        self.descriptor = -1

    def __enter__(self):
        import fcntl

        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                os.close(self.descriptor)
                raise
        return self

    def __exit__(self, *_):
        os.close(self.descriptor)


def hold(tree, uid):
    """Mark a tree as in use for the life of this process; return False when there is no such tree (any more)."""
    import fcntl
    import time

    try:
        check_folder(tree, {uid})
        descriptor = os.open(os.path.join(tree, ".in-use"), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    except OSError:
        pass  # no locks on this file system; see `Lock`
    try:
        held, there = os.fstat(descriptor), os.stat(os.path.join(tree, ".in-use"))
    except FileNotFoundError:
        os.close(descriptor)
        return False
    if held.st_ino != there.st_ino:
        os.close(descriptor)
        return False
    if time.time() - there.st_mtime > UNUSED_SECONDS / 30:
        os.utime(descriptor)
    return True  # the descriptor stays open on purpose


def unpack(archive, facts, folder):
    """Unpack and compile the parts for this Python into a folder."""
    import zipfile

    wanted = ("pure/", "cp" + running_version().replace(".", "") + "/")
    with zipfile.ZipFile(archive) as content:
        if json.loads(content.read("build.json").decode()) != facts:
            fail("%s was replaced while it started; run it again." % archive)
        for entry in content.infolist():
            if entry.filename.startswith(wanted):
                target = os.path.join(folder, entry.filename.partition("/")[2])
                os.makedirs(os.path.dirname(target), 0o700, exist_ok=True)
                with open(target, "wb") as out:
                    out.write(content.read(entry))
    compile_all(folder)
    with open(os.path.join(folder, ".in-use"), "wb"):
        pass
    if os.geteuid() == 0:
        share(folder)


def share(folder):
    """Let everybody read a tree, and nobody else change it: root's commands go on as the owner of the data.

    The marker stays root's alone: who can open it can lock it, and would make every later start wait.
    """
    for at, _, names in os.walk(folder):
        os.chmod(at, 0o755)  # noqa: S103  what is in it is no secret
        for name in names:
            os.chmod(os.path.join(at, name), 0o644)
    os.chmod(os.path.join(folder, ".in-use"), 0o600)


def compile_all(folder):
    """Compile every module below a folder, on every processor this process may use.

    Not with compileall's own workers: these start new interpreters, which would run this file again.
    """
    sources = sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if name[-3:] == ".py")
    count = min(4, len(os.sched_getaffinity(0)))
    children = []
    for share in range(1, count):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                compile_files(sources[share::count])
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    compile_files(sources[::count])
    for child in children:
        if os.waitpid(child, 0)[1] != 0:
            raise OSError(errno.EIO, "compiling failed")


def compile_files(sources):
    """Write the bytecode of some modules; one that another Python version was written for stays uncompiled."""
    import py_compile
    import warnings

    # Nobody edits the tree, so its bytecode need not be compared with the sources at each import.
    never_compared = py_compile.PycInvalidationMode.UNCHECKED_HASH
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's escapes are no news to whoever starts this
        for source in sources:
            py_compile.compile(source, doraise=False, quiet=2, invalidation_mode=never_compared)


def remove_old(cache, keep, now):
    """Remove trees that nobody runs or has started for 30 days, and what interrupted starts left."""
    import fcntl
    import shutil

    for name in os.listdir(cache):
        path = os.path.join(cache, name)
        try:
            if name.startswith(".new-"):
                if now - os.lstat(path).st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)
                continue
            marker = os.path.join(path, ".in-use")
            if path == keep or now - os.stat(marker).st_mtime < UNUSED_SECONDS:
                continue
            descriptor = os.open(marker, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                doomed = os.path.join(cache, ".new-" + name)
                os.rename(path, doomed)
                shutil.rmtree(doomed, ignore_errors=True)
            finally:
                os.close(descriptor)
        except OSError:
            continue  # in use, or gone already


def tree_in(cache, archive, facts, uid):
    """Return the unpacked tree in a cache, making it first if it is not there."""
    import shutil
    import tempfile
    import time

    tree = os.path.join(cache, "%s-cp%s" % (facts["build"][:32], running_version().replace(".", "")))
    try:
        if hold(tree, uid):
            return tree
        with Lock(os.path.join(cache, ".lock")):
            if hold(tree, uid):  # another start unpacked it while this one waited
                return tree
            fresh = tempfile.mkdtemp(prefix=".new-", dir=cache)
            try:
                unpack(archive, facts, fresh)
                os.rename(fresh, tree)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
            remove_old(cache, tree, time.time())
        if hold(tree, uid):
            return tree
    except OSError as error:
        raise Unusable("%s: %s" % (cache, error.strerror))
    raise Unusable("%s vanished" % tree)


def temporary_tree(archive, facts, uid, why):
    """Unpack into a directory of this process alone, removed when it ends."""
    import tempfile

    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/run/user/%d" % uid, "/dev/shm"):
        try:
            parent = os.path.realpath(place)
            check_way(parent, uid)
            check_exec(parent)
            fresh = tempfile.mkdtemp(prefix="appliance-", dir=parent)
            remove_at_exit(fresh)
            unpack(archive, facts, fresh)
        except Unusable as reason:
            why.append(str(reason))
        except OSError as error:
            why.append("%s: %s" % (place, error.strerror))
        else:
            sys.stderr.write("appliance: no cache can be used (%s), so each start unpacks anew.\n" % "; ".join(why))
            return fresh
    return fail("found no directory to unpack into: %s." % "; ".join(why))


def remove_at_exit(folder):
    """Remove a directory when this process ends, and not when a child that it forked does."""
    import atexit
    import shutil

    owner = os.getpid()
    atexit.register(lambda: os.getpid() == owner and shutil.rmtree(folder, ignore_errors=True))


def find_tree(archive, facts):
    """Return a directory that holds this build unpacked."""
    uid = os.geteuid()
    why = []
    for path in candidates(uid, os.environ):
        try:
            return tree_in(open_cache(path, uid), archive, facts, uid)
        except Unusable as reason:
            why.append(str(reason))
    return temporary_tree(archive, facts, uid, why or ["no home directory"])


def main():
    """Check, unpack, run the entry that the build names."""
    facts = json.loads(__loader__.get_data(os.path.join(__loader__.archive, "build.json")).decode())
    check_python(facts)
    check_system(facts, glibc_version())
    if sys.argv[1:] in (["--version"], ["-V"]):
        described = "python %d.%d.%d, %s %s, build %s" % (
            *sys.version_info[:3],
            sys.platform,
            os.uname().machine,
            facts["build"][:8],
        )
        print("%s %s (%s)" % (facts["name"], facts["version"], described))
        return 0
    archive = os.path.abspath(__loader__.archive)
    rest = clean_path(_given_path)
    sys.path[:] = rest
    tree = find_tree(archive, facts)
    forget(set(facts["roots"]))
    sys.path[:] = [tree, *rest]
    sys.path_importer_cache.clear()
    forget_archive()

    import importlib

    module, _, function = facts["entry"].partition(":")
    return getattr(importlib.import_module(module), function)()


if __name__ == "__main__":
    sys.exit(main())
