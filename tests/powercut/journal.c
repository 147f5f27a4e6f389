/* Writes down what a process asks the file system for, in the order in which it asks, below one folder.
 *
 * LD_PRELOAD it with POWERCUT_FOLDER (whose files are watched) and POWERCUT_JOURNAL (where records go). Each record is
 * written with one write() before the call that it tells of returns, so whoever was told of a result finds its record.
 * A sync of the folder itself is told with the folder's own name.
 * A record is: kind (1 byte), length of the name (u32), offset (u64), length of the data (u64), name, data.
 * A note of the process itself is a write to the file named "note" in the folder: the journal orders it with the rest.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static char folder[4096];

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("POWERCUT_JOURNAL"), *watched = getenv("POWERCUT_FOLDER");
    if (!path || !watched || strlen(watched) >= sizeof folder)
        return;
    strcpy(folder, watched);
    journal = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    unsetenv("LD_PRELOAD");
}

static int is_watched(const char *path)
{
    size_t length = strlen(folder);
    return journal >= 0 && strncmp(path, folder, length) == 0 && (path[length] == '/' || !path[length]);
}

static int name_of(int file, char *name, size_t room)
{
    char link[64];
    if (journal < 0 || file == journal)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, name, room - 1);
    if (length <= 0)
        return 0;
    name[length] = 0;
    return is_watched(name);
}

static void tell(char kind, const char *name, uint64_t offset, const void *data, uint64_t length)
{
    uint32_t name_length = (uint32_t)strlen(name);
    char head[21];
    head[0] = kind;
    memcpy(head + 1, &name_length, 4);
    memcpy(head + 5, &offset, 8);
    memcpy(head + 13, &length, 8);
    struct iovec parts[3] = {{head, sizeof head}, {(void *)(uintptr_t)name, name_length}, {(void *)(uintptr_t)data, length}};
    ssize_t wanted = (ssize_t)(sizeof head + name_length + length);
    if (writev(journal, parts, 3) != wanted)
        abort();
}

static ssize_t wrote(int file, const void *data, ssize_t done, off_t offset)
{
    char name[4096];
    if (done > 0 && name_of(file, name, sizeof name))
        tell('w', name, (uint64_t)offset, data, (uint64_t)done);
    return done;
}

ssize_t pwrite64(int file, const void *data, size_t length, off64_t offset)
{
    ssize_t (*call)(int, const void *, size_t, off64_t) = real("pwrite64");
    pthread_mutex_lock(&turn);
    ssize_t done = wrote(file, data, call(file, data, length, offset), offset);
    pthread_mutex_unlock(&turn);
    return done;
}

ssize_t pwrite(int file, const void *data, size_t length, off_t offset)
{
    return pwrite64(file, data, length, offset);
}

ssize_t write(int file, const void *data, size_t length)
{
    ssize_t (*call)(int, const void *, size_t) = real("write");
    pthread_mutex_lock(&turn);
    off_t before = lseek(file, 0, SEEK_CUR);
    ssize_t done = call(file, data, length);
    if (before >= 0)
        wrote(file, data, done, before);
    pthread_mutex_unlock(&turn);
    return done;
}

int ftruncate64(int file, off64_t length)
{
    int (*call)(int, off64_t) = real("ftruncate64");
    char name[4096];
    pthread_mutex_lock(&turn);
    int done = call(file, length);
    if (done == 0 && name_of(file, name, sizeof name))
        tell('t', name, (uint64_t)length, "", 0);
    pthread_mutex_unlock(&turn);
    return done;
}

int ftruncate(int file, off_t length)
{
    return ftruncate64(file, length);
}

static int synced(int file, const char *which)
{
    int (*call)(int) = real(which);
    char name[4096];
    /* Told after it has returned, within one turn: nothing is counted as kept before it is. */
    pthread_mutex_lock(&turn);
    int done = call(file);
    if (done == 0 && name_of(file, name, sizeof name))
        tell('s', name, 0, "", 0);
    pthread_mutex_unlock(&turn);
    return done;
}

int fsync(int file)
{
    return synced(file, "fsync");
}

int fdatasync(int file)
{
    return synced(file, "fdatasync");
}

int unlink(const char *path)
{
    int (*call)(const char *) = real("unlink");
    pthread_mutex_lock(&turn);
    int done = call(path);
    if (done == 0 && is_watched(path))
        tell('u', path, 0, "", 0);
    pthread_mutex_unlock(&turn);
    return done;
}
