/* Preloaded into one process: stands between it and the C library, and does to its clock, its files and its sockets
 * what a fault would do. Told what to do through a file that is mapped; see shim.py for who writes it.
 *
 * SEGS_SHIM_CONTROL names that file, SEGS_SHIM_FOLDER the folder whose files are meant (absolute, without links),
 * SEGS_SHIM_LOG where what is not synced yet is noted so that it can be undone, SEGS_SHIM_GRAVEYARD a folder on the
 * same file system where a file that loses its name keeps another.
 *
 * Only files below the folder take the lock; sockets and clocks never do, so that a signal handler may use them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum call {
    WRITE = 1, SYNC = 2, TRUNCATE = 4, NAME = 8, OPEN = 16, READ = 32, SEND = 64, RECEIVE = 128,
};

/* The layout is repeated in shim.py. */
struct control {
    uint64_t magic;
    _Atomic int64_t clock_offset_ns;
    _Atomic int64_t countdown; /* The matching call that kills when it is counted down to 0; nothing below 1. */
    _Atomic uint32_t counted;  /* Calls that match. */
    _Atomic uint32_t after;    /* Kill after that call, not before it. */
    _Atomic uint32_t port;     /* Sockets match only with this port at one of their ends, unless it is 0. */
    _Atomic uint32_t failing;  /* Calls on the folder's files that fail. */
    _Atomic int32_t error;     /* With this errno. */
    _Atomic uint32_t untracked; /* A file was changed in a way that the log does not know. */
    _Atomic int64_t killed_ns; /* Unix time of the last kill here. */
    _Atomic uint64_t sequence;
    _Atomic uint64_t seen[8];
    _Atomic int64_t boottime_offset_ns;
    _Atomic uint32_t synchronized; /* What the kernel says of the clock: 0 its own word, 1 yes, 2 no. */
    char boot_id[64];              /* Empty for the kernel's own. */
};
#define MAGIC 0x314d494853474553ull

/* A line of the log; `size` bytes follow. What the numbers mean is in power_cut.py. */
struct record {
    uint32_t kind, size;
    uint64_t sequence, inode;
    int64_t offset, length, size_before;
};
enum kind { WRITTEN = 1, TRUNCATED = 2, SYNCED = 3, CREATED = 4, RENAMED = 5, UNLINKED = 6, FOLDER_SYNCED = 7 };

static struct control *control;
static char folder[PATH_MAX], graveyard[PATH_MAX];
static size_t folder_length;
static int log_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void die(void)
{
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
    atomic_store(&control->killed_ns, now.tv_sec * 1000000000ll + now.tv_nsec);
    for (;;) syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv("SEGS_SHIM_CONTROL"), *place = getenv("SEGS_SHIM_FOLDER");
    const char *log = getenv("SEGS_SHIM_LOG"), *grave = getenv("SEGS_SHIM_GRAVEYARD");
    /* What this process starts is none of our business. */
    unsetenv("LD_PRELOAD");
    if (!file) return;
    int fd = syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC, 0);
    void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED || ((struct control *)mapped)->magic != MAGIC) {
        dprintf(2, "shim: %s is no control file\n", file);
        _exit(125);
    }
    syscall(SYS_close, fd);
    if (place) {
        snprintf(folder, sizeof folder, "%s", place);
        folder_length = strlen(folder);
    }
    if (log && grave) {
        snprintf(graveyard, sizeof graveyard, "%s", grave);
        int low = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        log_fd = low < 0 ? -1 : syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, 900);
        if (log_fd < 0) _exit(125);
        syscall(SYS_close, low);
    }
    control = mapped;
}

static int index_of(enum call call) { return __builtin_ctz(call); }

static int has_port(int fd, uint32_t port)
{
    struct sockaddr_storage name;
    for (int peer = 0; peer < 2; peer++) {
        socklen_t size = sizeof name;
        if (syscall(peer ? SYS_getpeername : SYS_getsockname, fd, &name, &size)) continue;
        if (name.ss_family == AF_INET && ntohs(((struct sockaddr_in *)&name)->sin_port) == port) return 1;
    }
    return 0;
}

/* Before (`done` 0) or after (1) a call that matters; `fd` is a socket's, or -1. */
static void point(enum call call, int fd, int done)
{
    if (!done) atomic_fetch_add(&control->seen[index_of(call)], 1);
    if (atomic_load(&control->countdown) < 1 || !(atomic_load(&control->counted) & call)) return;
    if (atomic_load(&control->after) != (uint32_t)done) return;
    uint32_t port = atomic_load(&control->port);
    int before = errno;
    if (fd < 0 || !port || has_port(fd, port)) {
        if (atomic_fetch_sub(&control->countdown, 1) == 1) die();
    }
    errno = before;
}

static int fails(enum call call)
{
    if (!(atomic_load(&control->failing) & call)) return 0;
    errno = atomic_load(&control->error);
    return 1;
}

/* What a descriptor is. */
enum thing { OTHER, SOCKET, OURS };

static int is_ours(const char *path)
{
    return folder_length && !strncmp(path, folder, folder_length) && (path[folder_length] == '/' || !path[folder_length]);
}

/* SQLite's shared memory: mapped, never synced, and made anew after a crash. */
static int is_shared_memory(const char *path)
{
    size_t length = strlen(path);
    return length > 4 && !strcmp(path + length - 4, "-shm");
}

static int path_of(int fd, char path[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlink, link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static enum thing look(int fd, char path[PATH_MAX])
{
    if (!control) return OTHER;
    int before = errno;
    struct stat found;
    enum thing thing = OTHER;
    if (!fstat(fd, &found)) {
        int domain = 0;
        socklen_t size = sizeof domain;
        if (S_ISSOCK(found.st_mode)) {
            if (!syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) && domain == AF_INET)
                thing = SOCKET;
        } else if ((S_ISREG(found.st_mode) || S_ISDIR(found.st_mode)) && path_of(fd, path) && is_ours(path)) {
            thing = OURS;
        }
    }
    errno = before;
    return thing;
}

static void absolute(int at, const char *given, char path[PATH_MAX])
{
    char base[PATH_MAX] = "";
    if (given[0] == '/') {
        snprintf(path, PATH_MAX, "%s", given);
        return;
    }
    if (at != AT_FDCWD) path_of(at, base);
    else if (syscall(SYS_getcwd, base, sizeof base) < 0) base[0] = 0;
    if (snprintf(path, PATH_MAX, "%s/%s", base, given) >= PATH_MAX) path[0] = 0;
}

static void note(enum kind kind, struct record record, const void *data, size_t size)
{
    if (log_fd < 0) return;
    record.kind = kind;
    record.size = size;
    record.sequence = atomic_fetch_add(&control->sequence, 1);
    struct iovec parts[2] = {{&record, sizeof record}, {(void *)data, size}};
    if (syscall(SYS_writev, log_fd, parts, size ? 2 : 1) != (ssize_t)(sizeof record + size)) {
        dprintf(2, "shim: the log cannot be written\n");
        _exit(125);
    }
}

/* The bytes of `fd` from `offset`, at most `length`; *size says how many. The caller frees them. */
static void *bytes_at(int fd, int64_t offset, int64_t length, size_t *size)
{
    *size = 0;
    if (length <= 0) return NULL;
    char *bytes = malloc(length), link[64];
    int own = fd;
    if ((syscall(SYS_fcntl, fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        own = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
    }
    ssize_t got;
    while ((int64_t)*size < length && (got = syscall(SYS_pread64, own, bytes + *size, length - *size, offset + *size)) > 0)
        *size += got;
    if (own != fd) syscall(SYS_close, own);
    return bytes;
}

/* With the lock: `length` bytes at `offset` are about to be written. */
static void note_write(int fd, const char *path, int64_t offset, int64_t length)
{
    struct stat found;
    if (log_fd < 0 || is_shared_memory(path) || fstat(fd, &found)) return;
    int64_t kept = found.st_size - offset < length ? found.st_size - offset : length;
    size_t size;
    void *bytes = bytes_at(fd, offset, kept, &size);
    note(WRITTEN, (struct record){.inode = found.st_ino, .offset = offset, .length = length,
                                  .size_before = found.st_size}, bytes, size);
    free(bytes);
}

/* With the lock: the file is about to have `length` bytes. */
static void note_truncation(int fd, const char *path, int64_t length)
{
    struct stat found;
    if (log_fd < 0 || is_shared_memory(path) || fstat(fd, &found)) return;
    size_t size;
    void *bytes = bytes_at(fd, length, found.st_size - length, &size);
    note(TRUNCATED, (struct record){.inode = found.st_ino, .offset = length, .size_before = found.st_size}, bytes, size);
    free(bytes);
}

static int64_t position(int fd)
{
    if (syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND) {
        struct stat found;
        return fstat(fd, &found) ? 0 : found.st_size;
    }
    return syscall(SYS_lseek, fd, 0, SEEK_CUR);
}

static void hold(void) { pthread_mutex_lock(&lock); }

static void let_go(void)
{
    int before = errno;
    pthread_mutex_unlock(&lock);
    errno = before;
}

/* A call of `call` on descriptor `fd`; `log` runs with the lock where it is one of the folder's files. */
#define ON_DESCRIPTOR(fd, file_call, socket_call, log, real)             \
    do {                                                                  \
        char path[PATH_MAX];                                              \
        enum thing thing = look(fd, path);                                \
        if (thing == OTHER) return real;                                  \
        if (thing == SOCKET) {                                            \
            point(socket_call, fd, 0);                                    \
            __auto_type done = real;                                      \
            point(socket_call, fd, 1);                                    \
            return done;                                                  \
        }                                                                 \
        if (fails(file_call)) return -1;                                  \
        point(file_call, -1, 0);                                          \
        hold();                                                           \
        log;                                                              \
        __auto_type done = real;                                          \
        let_go();                                                         \
        point(file_call, -1, 1);                                          \
        return done;                                                      \
    } while (0)

ssize_t write(int fd, const void *data, size_t size)
{
    ON_DESCRIPTOR(fd, WRITE, SEND, note_write(fd, path, position(fd), size), syscall(SYS_write, fd, data, size));
}

static int64_t total(const struct iovec *parts, int count)
{
    int64_t size = 0;
    for (int at = 0; at < count; at++) size += parts[at].iov_len;
    return size;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    ON_DESCRIPTOR(fd, WRITE, SEND, note_write(fd, path, position(fd), total(parts, count)),
                  syscall(SYS_writev, fd, parts, count));
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    ON_DESCRIPTOR(fd, WRITE, SEND, note_write(fd, path, offset, size), syscall(SYS_pwrite64, fd, data, size, offset));
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    ON_DESCRIPTOR(fd, WRITE, SEND, note_write(fd, path, offset, total(parts, count)),
                  syscall(SYS_pwritev, fd, parts, count, offset, 0));
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return pwritev64(fd, parts, count, offset);
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t size)
{
    ON_DESCRIPTOR(to, WRITE, SEND, note_write(to, path, position(to), size),
                  syscall(SYS_sendfile, to, from, offset, size));
}

ssize_t sendfile(int to, int from, off_t *offset, size_t size) { return sendfile64(to, from, offset, size); }

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t size, unsigned flags)
{
    ON_DESCRIPTOR(to, WRITE, SEND, note_write(to, path, to_at ? *to_at : position(to), size),
                  syscall(SYS_copy_file_range, from, from_at, to, to_at, size, flags));
}

int ftruncate64(int fd, off64_t length)
{
    ON_DESCRIPTOR(fd, TRUNCATE, SEND, note_truncation(fd, path, length), syscall(SYS_ftruncate, fd, length));
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int truncate64(const char *name, off64_t length)
{
    char path[PATH_MAX];
    if (control) {
        absolute(AT_FDCWD, name, path);
        if (is_ours(path)) atomic_store(&control->untracked, 1);
    }
    return syscall(SYS_truncate, name, length);
}

int truncate(const char *name, off_t length) { return truncate64(name, length); }

int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
    char path[PATH_MAX];
    if (look(fd, path) == OURS && !is_shared_memory(path)) atomic_store(&control->untracked, 1);
    return syscall(SYS_fallocate, fd, mode, offset, length);
}

int fallocate(int fd, int mode, off_t offset, off_t length) { return fallocate64(fd, mode, offset, length); }

int posix_fallocate64(int fd, off64_t offset, off64_t length)
{
    return fallocate64(fd, 0, offset, length) ? errno : 0;
}

int posix_fallocate(int fd, off_t offset, off_t length) { return posix_fallocate64(fd, offset, length); }

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
    char path[PATH_MAX];
    if (control && fd >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE) && look(fd, path) == OURS &&
        !is_shared_memory(path))
        atomic_store(&control->untracked, 1);
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    return mmap64(address, length, protection, flags, fd, offset);
}

static int synced(int fd, long number)
{
    char path[PATH_MAX];
    if (look(fd, path) != OURS) return syscall(number, fd);
    if (fails(SYNC)) return -1;
    point(SYNC, -1, 0);
    struct stat found;
    hold();
    /* What another thread writes meanwhile may be too late for this sync. */
    uint64_t until = atomic_load(&control->sequence);
    let_go();
    int done = syscall(number, fd);
    if (!done && !fstat(fd, &found)) {
        struct record record = {.inode = found.st_ino, .offset = until};
        hold();
        if (S_ISDIR(found.st_mode)) note(FOLDER_SYNCED, record, path, strlen(path) + 1);
        else if (!is_shared_memory(path)) note(SYNCED, record, NULL, 0);
        let_go();
    }
    point(SYNC, -1, 1);
    return done;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }

int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

/* With the lock: another name for the file at `path`, which is about to lose its own; "" where there is none. */
static void bury(const char *path, char grave[PATH_MAX])
{
    struct stat found;
    grave[0] = 0;
    if (log_fd < 0 || lstat(path, &found) || !S_ISREG(found.st_mode)) return;
    if (snprintf(grave, PATH_MAX, "%s/%llu-%llu", graveyard, (unsigned long long)found.st_ino,
                 (unsigned long long)atomic_load(&control->sequence)) >= PATH_MAX ||
        syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, grave, 0))
        grave[0] = 0;
}

static size_t join(char *to, const char *first, const char *second, const char *third)
{
    return stpcpy(stpcpy(stpcpy(to, first) + 1, second) + 1, third) + 1 - to;
}

static int renamed(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    char old[PATH_MAX], new[PATH_MAX], grave[PATH_MAX], names[3 * PATH_MAX];
    struct stat found;
    if (!control) return syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    absolute(from_at, from, old);
    absolute(to_at, to, new);
    if (!is_ours(old) && !is_ours(new)) return syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    if (fails(NAME)) return -1;
    point(NAME, -1, 0);
    hold();
    int there = !lstat(old, &found);
    bury(new, grave);
    int done = syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    if (!done && there)
        note(RENAMED, (struct record){.inode = found.st_ino}, names, join(names, old, new, grave));
    let_go();
    point(NAME, -1, 1);
    return done;
}

int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0); }

int renameat(int from_at, const char *from, int to_at, const char *to) { return renamed(from_at, from, to_at, to, 0); }

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    return renamed(from_at, from, to_at, to, flags);
}

int unlinkat(int at, const char *name, int flags)
{
    char path[PATH_MAX], grave[PATH_MAX], names[3 * PATH_MAX];
    struct stat found;
    if (!control) return syscall(SYS_unlinkat, at, name, flags);
    absolute(at, name, path);
    if (!is_ours(path) || (flags & AT_REMOVEDIR)) return syscall(SYS_unlinkat, at, name, flags);
    if (fails(NAME)) return -1;
    point(NAME, -1, 0);
    hold();
    int there = !lstat(path, &found);
    if (is_shared_memory(path)) grave[0] = 0;
    else bury(path, grave);
    int done = syscall(SYS_unlinkat, at, name, flags);
    if (!done && there && grave[0])
        note(UNLINKED, (struct record){.inode = found.st_ino}, names, join(names, path, grave, ""));
    let_go();
    point(NAME, -1, 1);
    return done;
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

int remove(const char *name)
{
    struct stat found;
    int is_folder = !lstat(name, &found) && S_ISDIR(found.st_mode);
    return unlinkat(AT_FDCWD, name, is_folder ? AT_REMOVEDIR : 0);
}

/* A file with the name of a boot that this process is told. */
static int told_boot_id(void)
{
    int fd = syscall(SYS_memfd_create, "boot_id", MFD_CLOEXEC);
    if (fd >= 0) {
        syscall(SYS_write, fd, control->boot_id, strlen(control->boot_id));
        syscall(SYS_lseek, fd, 0, SEEK_SET);
    }
    return fd;
}

static int opened(int at, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    if (control && control->boot_id[0] && !strcmp(name, "/proc/sys/kernel/random/boot_id")) return told_boot_id();
    int changes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    if (!control || !changes) return syscall(SYS_openat, at, name, flags, mode);
    absolute(at, name, path);
    if (!is_ours(path)) return syscall(SYS_openat, at, name, flags, mode);
    if (fails(OPEN)) return -1;
    point(OPEN, -1, 0);
    struct stat before, found;
    hold();
    int there = !stat(path, &before);
    if (there && (flags & O_TRUNC) && before.st_size) {
        int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
        if (fd >= 0) {
            note_truncation(fd, path, 0);
            syscall(SYS_close, fd);
        }
    }
    int fd = syscall(SYS_openat, at, name, flags, mode);
    if (fd >= 0 && !there && !is_shared_memory(path) && !fstat(fd, &found))
        note(CREATED, (struct record){.inode = found.st_ino}, path, strlen(path) + 1);
    let_go();
    point(OPEN, -1, 1);
    return fd;
}

#define MODE(flags)                                            \
    mode_t mode = 0;                                           \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                   \
        va_list rest;                                          \
        va_start(rest, flags);                                 \
        mode = va_arg(rest, mode_t);                           \
        va_end(rest);                                          \
    }

int open(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }

int open64(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }

int openat(int at, const char *name, int flags, ...) { MODE(flags) return opened(at, name, flags, mode); }

int openat64(int at, const char *name, int flags, ...) { MODE(flags) return opened(at, name, flags, mode); }

ssize_t read(int fd, void *data, size_t size)
{
    ON_DESCRIPTOR(fd, READ, RECEIVE, (void)0, syscall(SYS_read, fd, data, size));
}

ssize_t readv(int fd, const struct iovec *parts, int count)
{
    ON_DESCRIPTOR(fd, READ, RECEIVE, (void)0, syscall(SYS_readv, fd, parts, count));
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset)
{
    ON_DESCRIPTOR(fd, READ, RECEIVE, (void)0, syscall(SYS_pread64, fd, data, size, offset));
}

ssize_t pread(int fd, void *data, size_t size, off_t offset) { return pread64(fd, data, size, offset); }

#define ON_SOCKET(fd, call, real)                  \
    do {                                            \
        char path[PATH_MAX];                        \
        if (look(fd, path) != SOCKET) return real;  \
        point(call, fd, 0);                         \
        __auto_type done = real;                    \
        point(call, fd, 1);                         \
        return done;                                \
    } while (0)

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    ON_SOCKET(fd, SEND, syscall(SYS_sendto, fd, data, size, flags, NULL, 0));
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t to_size)
{
    ON_SOCKET(fd, SEND, syscall(SYS_sendto, fd, data, size, flags, to, to_size));
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ON_SOCKET(fd, SEND, syscall(SYS_sendmsg, fd, message, flags));
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
    ON_SOCKET(fd, RECEIVE, syscall(SYS_recvfrom, fd, data, size, flags, NULL, NULL));
}

ssize_t recvfrom(int fd, void *data, size_t size, int flags, struct sockaddr *from, socklen_t *from_size)
{
    ON_SOCKET(fd, RECEIVE, syscall(SYS_recvfrom, fd, data, size, flags, from, from_size));
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    ON_SOCKET(fd, RECEIVE, syscall(SYS_recvmsg, fd, message, flags));
}

/* Not the monotonic clock, by which the C library and the kernel agree on when to wake up. */
static int64_t offset_ns(clockid_t clock)
{
    if (!control) return 0;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) return atomic_load(&control->clock_offset_ns);
    return clock == CLOCK_BOOTTIME ? atomic_load(&control->boottime_offset_ns) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int done = syscall(SYS_clock_gettime, clock, now);
    int64_t offset = offset_ns(clock);
    if (!done && offset) {
        int64_t moved = now->tv_sec * 1000000000ll + now->tv_nsec + offset;
        now->tv_sec = moved / 1000000000;
        now->tv_nsec = moved % 1000000000;
    }
    return done;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    *now = (struct timeval){exact.tv_sec, exact.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int adjtimex(struct timex *timex)
{
    int done = syscall(SYS_adjtimex, timex);
    uint32_t told = control ? atomic_load(&control->synchronized) : 0;
    if (done >= 0 && told == 1) timex->status &= ~STA_UNSYNC;
    if (done >= 0 && told == 2) timex->status |= STA_UNSYNC;
    if (done >= 0 && told) done = told == 1 ? TIME_OK : TIME_ERROR;
    return done;
}
