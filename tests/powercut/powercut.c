/* What a data directory would keep if the power went now: a library to preload.
 *
 * The program under test works on its data directory as always. Beside it, in a side directory, this library keeps
 * a second picture of it, the *durable* one, which changes only when the program syncs:
 *
 *   side/durable/inodes/<ino>       content and size of a file as last synced
 *   side/durable/dirs/<ino>/<name>  names of a directory as last synced: a hard link to the file above,
 *                                   a symbolic link `dir:<ino>` for a directory, `link:<target>` for a symbolic link
 *   side/durable/sizes/<ino>        sizes that the file was set to since then, a line each: one step, unlike a write
 *   side/seen/...                   the same shape, only with POWERCUT_AUDIT: what the calls seen here add up to
 *
 * fsync and fdatasync of a file copy, once the kernel has done them, the ranges written before they began: a kill in
 * the middle finds them not yet durable. fsync of a directory copies its names.
 * A new file needs both: its own sync and its directory's. After a SIGKILL, whatever differs between the directory
 * and the durable picture was not synced, and the test decides what of it the disk kept. What was not seen here (a
 * system call past libc) is never taken as durable, so it fails the test and cannot pass it; the audit says where.
 *
 * Environment: POWERCUT_DATA, POWERCUT_SIDE (absolute, prepared by the test), POWERCUT_AUDIT=1,
 * POWERCUT_DROP_SYNC=1 (no sync makes anything durable) or =<part of a path> (only syncs of such paths).
 * POWERCUT_SLOW_SYNC=<microseconds> (a slow disk: more kills fall into a sync), POWERCUT_KILL_AT_SYNC=<n> (kills the
 * program as it begins its n-th sync).
 * Only the process started with it is watched: the variables are taken out of its environment. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define BUCKETS 4096
#define MAX_RANGES 4096 /* more are merged: copying too much is only slow */

/* ---- the kernel, past our own names -------------------------------------------------------------------------- */

static long raw6(long n, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return r;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
#else
#error "powercut: this processor is not known"
#endif
}
#define RAW7(n, a, b, c, d, e, f, ...) raw6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define RAW(...) RAW7(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

static long answer(long r) {
    if (r < 0 && r > -4096) {
        errno = (int)-r;
        return -1;
    }
    return r;
}

/* ---- state ---------------------------------------------------------------------------------------------------- */

struct range {
    off_t from, to;
    uint64_t written; /* number of the write that last made it longer */
};
struct node { /* a watched file: what of it was written since its last sync */
    ino_t ino;
    struct range *ranges;
    size_t count, room;
    bool sized; /* it has a file of sizes */
    uint64_t begun; /* writes up to this one belong to a sync that began: later ones do not join their ranges */
    struct node *next;
};

static bool on, drop_all, audit;
static char side[PATH_MAX / 2], drop_part[256];
static struct timespec slow;
static long syncs_left; /* until the kill; 0: none */
static dev_t device;
static struct node *nodes[BUCKETS];
static unsigned retired;
static uint64_t writes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void take(void) { pthread_mutex_lock(&lock); }
static void give(void) { pthread_mutex_unlock(&lock); }

static const char *at_side(char *out, const char *format, ...) {
    size_t used = (size_t)snprintf(out, PATH_MAX, "%s/", side);
    va_list args;
    va_start(args, format);
    vsnprintf(out + used, PATH_MAX - used, format, args);
    va_end(args);
    return out;
}

__attribute__((noreturn)) static void die(const char *what, const char *detail) {
    char text[PATH_MAX], path[PATH_MAX];
    int n = snprintf(text, sizeof text, "powercut: %s (%s), errno %d\n", what, detail, errno);
    RAW(SYS_write, 2, text, n);
    long fd = RAW(SYS_openat, AT_FDCWD, at_side(path, "refused"), O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd >= 0) RAW(SYS_write, fd, text, n);
    abort();
}

static long must(long r, const char *what, const char *detail) {
    if (r < 0) {
        errno = (int)-r;
        die(what, detail);
    }
    return r;
}

static int stat_at(int at, const char *path, struct stat *st, int flags) { return fstatat(at, path, st, flags); }

static struct node **slot(ino_t ino) {
    struct node **at = &nodes[ino % BUCKETS];
    while (*at && (*at)->ino != ino) at = &(*at)->next;
    return at;
}

static struct node *known(ino_t ino) {
    struct node **at = slot(ino);
    if (*at) return *at;
    char path[PATH_MAX];
    if (RAW(SYS_faccessat, AT_FDCWD, at_side(path, "durable/inodes/%lu", (unsigned long)ino), F_OK) < 0) return NULL;
    *at = calloc(1, sizeof **at);
    if (!*at) die("no memory", path);
    (*at)->ino = ino;
    return *at;
}

static void forget(ino_t ino) {
    char path[PATH_MAX];
    struct node **at = slot(ino), *gone = *at;
    if (gone) {
        *at = gone->next;
        free(gone->ranges);
        free(gone);
    }
    RAW(SYS_unlinkat, AT_FDCWD, at_side(path, "durable/inodes/%lu", (unsigned long)ino), 0);
    RAW(SYS_unlinkat, AT_FDCWD, at_side(path, "durable/sizes/%lu", (unsigned long)ino), 0);
    if (audit) RAW(SYS_unlinkat, AT_FDCWD, at_side(path, "seen/inodes/%lu", (unsigned long)ino), 0);
}

static void fresh_file(const char *picture, ino_t ino, mode_t mode) {
    char path[PATH_MAX];
    at_side(path, "%s/inodes/%lu", picture, (unsigned long)ino);
    long fd = must(RAW(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), "new file", path);
    must(RAW(SYS_fchmod, fd, mode & 07777), "mode of a new file", path);
    RAW(SYS_close, fd);
}

/* A file that begins its life: nothing of it is durable. A number used before belongs to a file that is gone. */
static void begin(ino_t ino, mode_t mode) {
    forget(ino);
    fresh_file("durable", ino, mode);
    if (audit) fresh_file("seen", ino, mode);
}

static bool join(struct node *file, struct range *r, off_t from, off_t to) {
    if (r->written <= file->begun) return false;
    if (from < r->from) r->from = from;
    if (to > r->to) r->to = to;
    r->written = writes;
    return true;
}

static void mark(struct node *file, off_t from, off_t to) {
    if (to <= from) return;
    writes++;
    for (size_t i = file->count; i-- > 0 && file->count - i < 8;) {
        struct range *r = &file->ranges[i];
        if (from <= r->to && to >= r->from && join(file, r, from, to)) return;
    }
    if (file->count >= MAX_RANGES && join(file, &file->ranges[file->count - 1], from, to)) return;
    if (file->count == file->room) {
        file->room = file->room ? file->room * 2 : 8;
        file->ranges = realloc(file->ranges, file->room * sizeof *file->ranges);
        if (!file->ranges) die("no memory", "ranges");
    }
    file->ranges[file->count++] = (struct range){from, to, writes};
}

/* The watched file behind a descriptor, with the lock held; NULL, without it, for everything else. No table of
 * descriptors: the kernel is asked each time, so dup, exec, fork and passed descriptors need no care. */
static struct node *enter(int fd) {
    struct stat st;
    if (!on || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_dev != device) return NULL;
    take();
    struct node *file = known(st.st_ino);
    if (!file) give();
    return file;
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

struct place { /* a name in a directory */
    bool watched;
    ino_t dir;
    char name[NAME_MAX + 1];
};

static bool watched_dir(const struct stat *st) {
    char path[PATH_MAX];
    return S_ISDIR(st->st_mode) && st->st_dev == device &&
           RAW(SYS_faccessat, AT_FDCWD, at_side(path, "durable/dirs/%lu", (unsigned long)st->st_ino), F_OK) == 0;
}

static struct place locate(int at, const char *path) {
    struct place p = {0};
    char dir[PATH_MAX];
    struct stat st;
    size_t n = path ? strnlen(path, PATH_MAX) : 0;
    if (n == 0 || n >= PATH_MAX) return p;
    memcpy(dir, path, n + 1);
    while (n > 1 && dir[n - 1] == '/') dir[--n] = 0;
    char *last = strrchr(dir, '/');
    size_t length = strlen(last ? last + 1 : dir);
    if (length > NAME_MAX) return p;
    memcpy(p.name, last ? last + 1 : dir, length + 1);
    if (!last) strcpy(dir, ".");
    else if (last == dir) dir[1] = 0;
    else *last = 0;
    if (stat_at(at, dir, &st, 0) < 0) return p;
    p.dir = st.st_ino;
    p.watched = watched_dir(&st);
    return p;
}

static const char *seen_name(char *out, const struct place *p) {
    return at_side(out, "seen/dirs/%lu/%s", (unsigned long)p->dir, p->name);
}

static void seen_link(const struct place *p, ino_t ino) {
    char from[PATH_MAX], to[PATH_MAX];
    if (!audit) return;
    at_side(from, "seen/inodes/%lu", (unsigned long)ino);
    must(RAW(SYS_linkat, AT_FDCWD, from, AT_FDCWD, seen_name(to, p), 0), "audit: link", to);
}

static void seen_unlink(const struct place *p) {
    char path[PATH_MAX];
    if (audit) RAW(SYS_unlinkat, AT_FDCWD, seen_name(path, p), 0);
}

/* A directory that ended while older names may still lead to it: it moves aside, as its number may be used again. */
static void retire_in(const char *picture, ino_t ino) {
    char path[PATH_MAX], to[PATH_MAX], old[64], new[64], target[64];
    unsigned k = ++retired;
    at_side(path, "%s/dirs/%lu", picture, (unsigned long)ino);
    at_side(to, "%s/dirs/%lu.%u", picture, (unsigned long)ino, k);
    if (RAW(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, to, 0) < 0) return;
    snprintf(old, sizeof old, "dir:%lu", (unsigned long)ino);
    snprintf(new, sizeof new, "dir:%lu.%u", (unsigned long)ino, k);
    DIR *all = opendir(at_side(path, "%s/dirs", picture));
    for (struct dirent *d; all && (d = readdir(all));) {
        if (d->d_name[0] == '.') continue;
        DIR *one = opendir(at_side(path, "%s/dirs/%s", picture, d->d_name));
        for (struct dirent *e; one && (e = readdir(one));) {
            if (e->d_type != DT_LNK) continue;
            at_side(path, "%s/dirs/%s/%s", picture, d->d_name, e->d_name);
            long n = RAW(SYS_readlinkat, AT_FDCWD, path, target, sizeof target - 1);
            if (n <= 0 || (size_t)n != strlen(old) || memcmp(target, old, (size_t)n) != 0) continue;
            RAW(SYS_unlinkat, AT_FDCWD, path, 0);
            must(RAW(SYS_symlinkat, new, AT_FDCWD, path), "retire", path);
        }
        if (one) closedir(one);
    }
    if (all) closedir(all);
}

static void begin_dir(const struct place *p, ino_t ino) {
    char path[PATH_MAX], target[64];
    must(RAW(SYS_mkdirat, AT_FDCWD, at_side(path, "durable/dirs/%lu", (unsigned long)ino), 0755), "mkdir", path);
    if (!audit) return;
    must(RAW(SYS_mkdirat, AT_FDCWD, at_side(path, "seen/dirs/%lu", (unsigned long)ino), 0755), "audit: mkdir", path);
    snprintf(target, sizeof target, "dir:%lu", (unsigned long)ino);
    must(RAW(SYS_symlinkat, target, AT_FDCWD, seen_name(path, p)), "audit: mkdir", path);
}

/* What stood under a name that now stands there no more. */
static void ended(const struct stat *st) {
    if (st->st_dev != device) return;
    if (S_ISREG(st->st_mode) && st->st_nlink == 1) forget(st->st_ino);
    if (!watched_dir(st)) return;
    retire_in("durable", st->st_ino);
    if (audit) retire_in("seen", st->st_ino);
}

/* ---- syncs ---------------------------------------------------------------------------------------------------- */

static void copy_range(int from, int to, off_t start, off_t end, const char *what) {
    static char buffer[1 << 16]; /* under the lock */
    while (start < end) {
        size_t want = (size_t)(end - start) < sizeof buffer ? (size_t)(end - start) : sizeof buffer;
        long n = must(RAW(SYS_pread64, from, buffer, want, start), "read back", what);
        if (n == 0) return;
        must(RAW(SYS_pwrite64, to, buffer, n, start), "copy", what);
        start += n;
    }
}

static int reopen(int fd) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return (int)must(RAW(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC), "reopen", path);
}

/* What was written up to `last` is durable; another sync may have copied it already. */
static void file_durable(int fd, struct node *file, uint64_t last) {
    char path[PATH_MAX];
    struct stat st;
    at_side(path, "durable/inodes/%lu", (unsigned long)file->ino);
    int live = reopen(fd);
    int kept = (int)must(RAW(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC), "open", path);
    size_t left = 0;
    for (size_t i = 0; i < file->count; i++) {
        struct range r = file->ranges[i];
        if (r.written <= last) copy_range(live, kept, r.from, r.to, path);
        else file->ranges[left++] = r;
    }
    file->count = left;
    if (fstat(live, &st) < 0) die("stat", path);
    must(RAW(SYS_ftruncate, kept, st.st_size), "size", path);
    must(RAW(SYS_fchmod, kept, st.st_mode & 07777), "mode", path);
    RAW(SYS_close, live);
    RAW(SYS_close, kept);
    if (file->sized) RAW(SYS_unlinkat, AT_FDCWD, at_side(path, "durable/sizes/%lu", (unsigned long)file->ino), 0);
    file->sized = false;
}

static void name_durable(int live, const char *name, const char *into) {
    char from[PATH_MAX], to[PATH_MAX], target[PATH_MAX] = "link:";
    struct stat st;
    if (stat_at(live, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return;
    at_side(to, "%s/%s", into, name);
    if (S_ISREG(st.st_mode)) {
        if (!known(st.st_ino)) begin(st.st_ino, st.st_mode); /* made by another process: a name without content */
        at_side(from, "durable/inodes/%lu", (unsigned long)st.st_ino);
        must(RAW(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0), "name", to);
    } else if (S_ISDIR(st.st_mode)) {
        if (!watched_dir(&st)) RAW(SYS_mkdirat, AT_FDCWD, at_side(from, "durable/dirs/%lu", (unsigned long)st.st_ino), 0755);
        snprintf(target, sizeof target, "dir:%lu", (unsigned long)st.st_ino);
        must(RAW(SYS_symlinkat, target, AT_FDCWD, to), "name", to);
    } else if (S_ISLNK(st.st_mode)) {
        if (RAW(SYS_readlinkat, live, name, target + 5, sizeof target - 6) < 0) return;
        must(RAW(SYS_symlinkat, target, AT_FDCWD, to), "name", to);
    }
}

static void empty_dir(const char *path) {
    DIR *dir = opendir(path);
    for (struct dirent *d; dir && (d = readdir(dir));)
        if (strcmp(d->d_name, ".") && strcmp(d->d_name, "..")) RAW(SYS_unlinkat, dirfd(dir), d->d_name, 0);
    if (dir) closedir(dir);
    RAW(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

/* All names at once, by an exchange: a kill in the middle leaves the old names or the new ones. */
static void dir_durable(int fd, ino_t ino) {
    char now[PATH_MAX], next[PATH_MAX];
    at_side(now, "durable/dirs/%lu", (unsigned long)ino);
    at_side(next, "durable/next");
    empty_dir(next);
    must(RAW(SYS_mkdirat, AT_FDCWD, next, 0755), "mkdir", next);
    int again = (int)must(RAW(SYS_openat, fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "open", "directory");
    DIR *dir = fdopendir(again);
    if (!dir) die("read directory", now);
    for (struct dirent *d; (d = readdir(dir));)
        if (strcmp(d->d_name, ".") && strcmp(d->d_name, "..")) name_durable(again, d->d_name, "durable/next");
    closedir(dir);
    must(RAW(SYS_renameat2, AT_FDCWD, next, AT_FDCWD, now, RENAME_EXCHANGE), "exchange", now);
    empty_dir(next);
}

static bool dropped(int fd) {
    char link[64], path[PATH_MAX] = "";
    if (drop_all || !drop_part[0]) return drop_all;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    RAW(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    return strstr(path, drop_part) != NULL;
}

static int sync_fd(int fd, long call) {
    struct stat st;
    if (!on || fstat(fd, &st) < 0 || st.st_dev != device) return (int)answer(RAW(call, fd));
    take();
    struct node *file = S_ISREG(st.st_mode) ? known(st.st_ino) : NULL;
    bool dir = watched_dir(&st);
    if ((file || dir) && dropped(fd)) {
        give();
        return 0;
    }
    uint64_t last = writes;
    if (file) file->begun = last;
    if ((file || dir) && syncs_left && --syncs_left == 0) RAW(SYS_kill, getpid(), SIGKILL);
    give();
    if (file || dir) RAW(SYS_nanosleep, &slow, NULL);
    long r = RAW(call, fd);
    take();
    file = file && r == 0 ? known(st.st_ino) : NULL; /* may have been removed meanwhile */
    if (file) file_durable(fd, file, last);
    if (dir && r == 0 && watched_dir(&st)) dir_durable(fd, st.st_ino);
    give();
    return (int)answer(r);
}

int fsync(int fd) { return sync_fd(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_fd(fd, SYS_fdatasync); }
/* Gives no promise: neither sizes nor the drive's cache are written. */
int sync_file_range(int fd, off64_t from, off64_t n, unsigned flags) {
    return (int)answer(RAW(SYS_sync_file_range, fd, from, n, flags));
}
void sync(void) {
    if (on) die("sync is not modelled", "use fsync");
    RAW(SYS_sync);
}
int syncfs(int fd) {
    if (on) die("syncfs is not modelled", "use fsync");
    return (int)answer(RAW(SYS_syncfs, fd));
}

/* ---- writes --------------------------------------------------------------------------------------------------- */

static int open_seen(ino_t ino) {
    char path[PATH_MAX];
    at_side(path, "seen/inodes/%lu", (unsigned long)ino);
    return (int)must(RAW(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC), "audit: open", path);
}

static void seen_write(ino_t ino, off_t at, const struct iovec *iov, size_t left) {
    if (!audit) return;
    int fd = open_seen(ino);
    for (; left; iov++) {
        size_t n = iov->iov_len < left ? iov->iov_len : left;
        must(RAW(SYS_pwrite64, fd, iov->iov_base, n, at), "audit: write", "");
        at += (off_t)n;
        left -= n;
    }
    RAW(SYS_close, fd);
}

static void seen_size(ino_t ino, off_t size) {
    if (!audit) return;
    int fd = open_seen(ino);
    must(RAW(SYS_ftruncate, fd, size), "audit: size", "");
    RAW(SYS_close, fd);
}

static void seen_copy(int from, ino_t ino, off_t start, off_t end) {
    if (!audit) return;
    int fd = open_seen(ino), live = reopen(from);
    copy_range(live, fd, start, end, "audit");
    RAW(SYS_close, live);
    RAW(SYS_close, fd);
}

/* After a write at `at` (-1: at the descriptor's own place). Marked after it is done: a sync that runs meanwhile
 * need not cover it, and the next one must. */
static off_t wrote(int fd, struct node *file, off_t at, ssize_t n, int flags) {
    long mode = RAW(SYS_fcntl, fd, F_GETFL);
    struct stat st;
    if (mode & O_APPEND) at = fstat(fd, &st) < 0 ? at : st.st_size - n;
    else if (at < 0) at = RAW(SYS_lseek, fd, 0, SEEK_CUR) - n;
    mark(file, at, at + n);
    if (((mode & O_DSYNC) || (flags & (RWF_DSYNC | RWF_SYNC))) && !dropped(fd)) file_durable(fd, file, writes);
    return at;
}

static ssize_t write_iov(long call, int fd, const struct iovec *iov, int count, off_t at, int flags) {
    struct node *file = enter(fd);
    long r = call == SYS_writev ? RAW(call, fd, iov, count) : RAW(call, fd, iov, count, at, 0, flags);
    if (file && r > 0) seen_write(file->ino, wrote(fd, file, at, r, flags), iov, (size_t)r);
    if (file) give();
    return answer(r);
}

ssize_t write(int fd, const void *data, size_t n) {
    struct node *file = enter(fd);
    long r = RAW(SYS_write, fd, data, n);
    struct iovec one = {(void *)data, n};
    if (file && r > 0) seen_write(file->ino, wrote(fd, file, -1, r, 0), &one, (size_t)r);
    if (file) give();
    return answer(r);
}
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) {
    struct node *file = enter(fd);
    long r = RAW(SYS_pwrite64, fd, data, n, at);
    struct iovec one = {(void *)data, n};
    if (file && r > 0) seen_write(file->ino, wrote(fd, file, at, r, 0), &one, (size_t)r);
    if (file) give();
    return answer(r);
}
ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
ssize_t __write(int, const void *, size_t) __attribute__((alias("write")));
ssize_t __pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
ssize_t writev(int fd, const struct iovec *iov, int count) { return write_iov(SYS_writev, fd, iov, count, -1, 0); }
ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at) {
    return write_iov(SYS_pwritev, fd, iov, count, at, 0);
}
ssize_t pwritev64(int, const struct iovec *, int, off_t) __attribute__((alias("pwritev")));
ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t at, int flags) {
    return write_iov(SYS_pwritev2, fd, iov, count, at, flags);
}
ssize_t pwritev64v2(int, const struct iovec *, int, off_t, int) __attribute__((alias("pwritev2")));

/* The kernel moved the bytes: the audit can only take them from the file itself. */
static ssize_t moved(int fd, struct node *file, const off_t *at, long r) {
    if (file && r > 0) {
        off_t start = wrote(fd, file, at ? *at - r : -1, r, 0);
        seen_copy(fd, file->ino, start, start + r);
    }
    if (file) give();
    return answer(r);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t n, unsigned flags) {
    struct node *file = enter(out);
    return moved(out, file, to, RAW(SYS_copy_file_range, in, from, out, to, n, flags));
}
ssize_t sendfile(int out, int in, off_t *from, size_t n) {
    struct node *file = enter(out);
    return moved(out, file, NULL, RAW(SYS_sendfile, out, in, from, n));
}
ssize_t sendfile64(int, int, off_t *, size_t) __attribute__((alias("sendfile")));
ssize_t splice(int in, off64_t *from, int out, off64_t *to, size_t n, unsigned flags) {
    struct stat st;
    if (!on || fstat(out, &st) < 0 || !S_ISREG(st.st_mode)) return answer(RAW(SYS_splice, in, from, out, to, n, flags));
    struct node *file = enter(out);
    return moved(out, file, to, RAW(SYS_splice, in, from, out, to, n, flags));
}

/* ---- sizes ---------------------------------------------------------------------------------------------------- */

static void resized(struct node *file, off_t before, off_t size) {
    char path[PATH_MAX];
    mark(file, size, before); /* if it grows again, what was cut off is zeros */
    at_side(path, "durable/sizes/%lu", (unsigned long)file->ino);
    long fd = must(RAW(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644), "note a size", path);
    RAW(SYS_write, fd, path, snprintf(path, sizeof path, "%ld\n", (long)size));
    RAW(SYS_close, fd);
    file->sized = true;
    seen_size(file->ino, size);
}

int ftruncate(int fd, off_t size) {
    struct stat st = {0};
    struct node *file = enter(fd);
    if (file) fstat(fd, &st);
    long r = RAW(SYS_ftruncate, fd, size);
    if (file && r == 0) resized(file, st.st_size, size);
    if (file) give();
    return (int)answer(r);
}
int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));

int truncate(const char *path, off_t size) {
    struct stat st;
    if (!on || stat_at(AT_FDCWD, path, &st, 0) < 0 || st.st_dev != device) return (int)answer(RAW(SYS_truncate, path, size));
    take();
    struct node *file = known(st.st_ino);
    long r = RAW(SYS_truncate, path, size);
    if (file && r == 0) resized(file, st.st_size, size);
    give();
    return (int)answer(r);
}
int truncate64(const char *, off_t) __attribute__((alias("truncate")));

int fallocate(int fd, int mode, off_t at, off_t n) {
    struct node *file = enter(fd);
    if (file && (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))) die("fallocate that shifts a file", "");
    struct stat before = {0}, after = {0};
    if (file) fstat(fd, &before);
    long r = RAW(SYS_fallocate, fd, mode, at, n);
    if (file && r == 0) {
        fstat(fd, &after);
        if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) mark(file, at, at + n);
        if (after.st_size != before.st_size) resized(file, before.st_size, after.st_size);
        if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) seen_copy(fd, file->ino, at, at + n);
    }
    if (file) give();
    return (int)answer(r);
}
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
int posix_fallocate(int fd, off_t at, off_t n) { return fallocate(fd, 0, at, n) == 0 ? 0 : errno; }
int posix_fallocate64(int, off_t, off_t) __attribute__((alias("posix_fallocate")));

/* ---- opening, making, moving, removing ----------------------------------------------------------------------- */

static int open_at(int at, const char *path, int flags, mode_t mode) {
    bool nameless = (flags & O_TMPFILE) == O_TMPFILE;
    if (!on || !(flags & (O_CREAT | O_TRUNC) || nameless)) return (int)answer(RAW(SYS_openat, at, path, flags, mode));
    struct stat before, now;
    take();
    struct place p = locate(at, path);
    bool was = stat_at(at, path, &before, 0) == 0;
    long fd = RAW(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && fstat((int)fd, &now) == 0 && S_ISREG(now.st_mode) && now.st_dev == device) {
        if (nameless ? watched_dir(&before) : !was && p.watched) {
            begin(now.st_ino, now.st_mode);
            if (!nameless) seen_link(&p, now.st_ino);
        } else if ((flags & O_TRUNC) && was && known(now.st_ino)) {
            resized(known(now.st_ino), before.st_size, 0);
        }
    }
    give();
    return (int)answer(fd);
}

static mode_t mode_of(int flags, va_list args) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}
int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return open_at(AT_FDCWD, path, flags, mode);
}
int openat(int at, const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    return open_at(at, path, flags, mode);
}
int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int open64(const char *, int, ...) __attribute__((alias("open"), nonnull(1)));
int __open(const char *, int, ...) __attribute__((alias("open"), nonnull(1)));
int __open64(const char *, int, ...) __attribute__((alias("open"), nonnull(1)));
int openat64(int, const char *, int, ...) __attribute__((alias("openat"), nonnull(2)));
int creat64(const char *, mode_t) __attribute__((alias("creat")));
int __open_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int __openat_2(int at, const char *path, int flags) { return open_at(at, path, flags, 0); }
int __openat64_2(int at, const char *path, int flags) { return open_at(at, path, flags, 0); }

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    if (!on) return (int)answer(RAW(SYS_renameat2, from_at, from, to_at, to, flags));
    struct stat what, over;
    char a[PATH_MAX], b[PATH_MAX];
    take();
    struct place p = locate(from_at, from), q = locate(to_at, to);
    bool replaces = stat_at(to_at, to, &over, AT_SYMLINK_NOFOLLOW) == 0;
    bool is = stat_at(from_at, from, &what, AT_SYMLINK_NOFOLLOW) == 0;
    if (is && q.watched && !p.watched && S_ISDIR(what.st_mode)) die("a directory moved in from outside", to);
    long r = RAW(SYS_renameat2, from_at, from, to_at, to, flags);
    bool same = is && replaces && what.st_ino == over.st_ino;
    if (r == 0 && is && !same && (p.watched || q.watched)) {
        if (audit && p.watched && q.watched)
            must(RAW(SYS_renameat2, AT_FDCWD, seen_name(a, &p), AT_FDCWD, seen_name(b, &q), flags), "audit: rename", b);
        if (q.watched && !p.watched) { /* came from outside: a new file of which nothing is durable */
            struct node *file = known(what.st_ino);
            if (!file && S_ISREG(what.st_mode)) begin(what.st_ino, what.st_mode);
            if ((file = known(what.st_ino))) mark(file, 0, what.st_size);
            seen_unlink(&q);
            if (S_ISREG(what.st_mode)) seen_link(&q, what.st_ino);
            int fd = audit ? (int)RAW(SYS_openat, to_at, to, O_RDONLY | O_CLOEXEC) : -1;
            if (fd >= 0) seen_copy(fd, what.st_ino, 0, what.st_size);
            if (fd >= 0) RAW(SYS_close, fd);
        }
        if (p.watched && !q.watched) seen_unlink(&p);
        if (replaces && !(flags & RENAME_EXCHANGE)) ended(&over);
    }
    give();
    return (int)answer(r);
}
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_at, const char *from, int to_at, const char *to) { return renameat2(from_at, from, to_at, to, 0); }

int unlinkat(int at, const char *path, int flags) {
    if (!on) return (int)answer(RAW(SYS_unlinkat, at, path, flags));
    struct stat st;
    take();
    struct place p = locate(at, path);
    bool was = stat_at(at, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
    long r = RAW(SYS_unlinkat, at, path, flags);
    if (r == 0 && was && p.watched) {
        seen_unlink(&p);
        ended(&st);
    }
    give();
    return (int)answer(r);
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) {
    int r = unlinkat(AT_FDCWD, path, 0);
    return r < 0 && errno == EISDIR ? rmdir(path) : r;
}

int mkdirat(int at, const char *path, mode_t mode) {
    if (!on) return (int)answer(RAW(SYS_mkdirat, at, path, mode));
    struct stat st;
    take();
    struct place p = locate(at, path);
    long r = RAW(SYS_mkdirat, at, path, mode);
    if (r == 0 && p.watched) {
        if (stat_at(at, path, &st, AT_SYMLINK_NOFOLLOW) < 0) die("a new directory is not there", path);
        begin_dir(&p, st.st_ino);
    }
    give();
    return (int)answer(r);
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    if (!on) return (int)answer(RAW(SYS_linkat, from_at, from, to_at, to, flags));
    struct stat st;
    take();
    struct place q = locate(to_at, to);
    long r = RAW(SYS_linkat, from_at, from, to_at, to, flags);
    if (r == 0 && q.watched && stat_at(to_at, to, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!known(st.st_ino)) die("a file linked in from outside", to);
        seen_link(&q, st.st_ino);
    }
    give();
    return (int)answer(r);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int symlinkat(const char *target, int at, const char *path) {
    if (!on) return (int)answer(RAW(SYS_symlinkat, target, at, path));
    char text[PATH_MAX], where[PATH_MAX];
    take();
    struct place p = locate(at, path);
    long r = RAW(SYS_symlinkat, target, at, path);
    if (r == 0 && p.watched && audit) {
        snprintf(text, sizeof text, "link:%s", target);
        must(RAW(SYS_symlinkat, text, AT_FDCWD, seen_name(where, &p)), "audit: symlink", where);
    }
    give();
    return (int)answer(r);
}
int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }

/* ---- what cannot be followed: refused loudly ------------------------------------------------------------------ */

static void refuse_fd(int fd, const char *what) {
    if (enter(fd)) die(what, "a file of the data directory");
}
static void refuse_path(const char *path, const char *what) {
    if (on && locate(AT_FDCWD, path).watched) die(what, path);
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t from) {
    if (on && fd >= 0 && (flags & MAP_SHARED) && !(flags & MAP_ANONYMOUS)) {
        bool writable = (RAW(SYS_fcntl, fd, F_GETFL) & O_ACCMODE) == O_RDWR; /* else mprotect cannot make it so */
        if ((prot & PROT_WRITE) || writable) refuse_fd(fd, "mmap shared and writable");
    }
    return (void *)answer(RAW(SYS_mmap, at, n, prot, flags, fd, from));
}
void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));

typedef FILE *open_stream(const char *, const char *);
static FILE *stream(const char *name, const char *path, const char *mode) {
    if (mode && strpbrk(mode, "wa+")) refuse_path(path, "stdio writes past this library");
    return ((open_stream *)dlsym(RTLD_NEXT, name))(path, mode);
}
FILE *fopen(const char *path, const char *mode) { return stream("fopen", path, mode); }
FILE *fopen64(const char *path, const char *mode) { return stream("fopen64", path, mode); }
FILE *freopen(const char *path, const char *mode, FILE *old) {
    if (path && strpbrk(mode, "wa+")) refuse_path(path, "stdio writes past this library");
    return ((FILE * (*)(const char *, const char *, FILE *)) dlsym(RTLD_NEXT, "freopen"))(path, mode, old);
}
FILE *fdopen(int fd, const char *mode) {
    if (strpbrk(mode, "wa+")) refuse_fd(fd, "stdio writes past this library");
    return ((FILE * (*)(int, const char *)) dlsym(RTLD_NEXT, "fdopen"))(fd, mode);
}
int vdprintf(int fd, const char *format, va_list args) {
    refuse_fd(fd, "dprintf");
    return ((int (*)(int, const char *, va_list))dlsym(RTLD_NEXT, "vdprintf"))(fd, format, args);
}
int dprintf(int fd, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vdprintf(fd, format, args);
    va_end(args);
    return n;
}
#define REFUSE_TEMPLATE(name, params, ...)                                      \
    int name params {                                                           \
        refuse_path(path, #name);                                               \
        return ((int(*) params)dlsym(RTLD_NEXT, #name))(__VA_ARGS__);           \
    }
REFUSE_TEMPLATE(mkstemp, (char *path), path)
REFUSE_TEMPLATE(mkstemp64, (char *path), path)
REFUSE_TEMPLATE(mkostemp, (char *path, int flags), path, flags)
REFUSE_TEMPLATE(mkostemp64, (char *path, int flags), path, flags)
REFUSE_TEMPLATE(mkstemps, (char *path, int n), path, n)
REFUSE_TEMPLATE(mkostemps, (char *path, int n, int flags), path, n, flags)
char *mkdtemp(char *path) {
    refuse_path(path, "mkdtemp");
    return ((char *(*)(char *))dlsym(RTLD_NEXT, "mkdtemp"))(path);
}
struct aiocb;
int aio_write(struct aiocb *cb) {
    if (on) die("aio_write", "writes from threads of libc");
    return ((int (*)(struct aiocb *))dlsym(RTLD_NEXT, "aio_write"))(cb);
}
int ioctl(int fd, unsigned long request, ...) {
    va_list args;
    va_start(args, request);
    long arg = va_arg(args, long);
    va_end(args);
    if (request == FICLONE || request == FICLONERANGE || request == FIDEDUPERANGE) refuse_fd(fd, "clone into a file");
    return (int)answer(RAW(SYS_ioctl, fd, request, arg));
}

/* The calls that have a name above go through it; those that write by other roads are refused. */
long syscall(long n, ...) {
    long a[6];
    va_list args;
    va_start(args, n);
    for (int i = 0; i < 6; i++) a[i] = va_arg(args, long);
    va_end(args);
    switch (on ? n : -1) {
    case SYS_write: return write((int)a[0], (void *)a[1], (size_t)a[2]);
    case SYS_pwrite64: return pwrite((int)a[0], (void *)a[1], (size_t)a[2], a[3]);
    case SYS_writev: return writev((int)a[0], (void *)a[1], (int)a[2]);
    case SYS_pwritev: return pwritev((int)a[0], (void *)a[1], (int)a[2], a[3]);
    case SYS_pwritev2: return pwritev2((int)a[0], (void *)a[1], (int)a[2], a[3], (int)a[5]);
    case SYS_ftruncate: return ftruncate((int)a[0], a[1]);
    case SYS_truncate: return truncate((char *)a[0], a[1]);
    case SYS_fallocate: return fallocate((int)a[0], (int)a[1], a[2], a[3]);
    case SYS_fsync: return fsync((int)a[0]);
    case SYS_fdatasync: return fdatasync((int)a[0]);
    case SYS_sync: sync(); return 0;
    case SYS_syncfs: return syncfs((int)a[0]);
    case SYS_openat: return open_at((int)a[0], (char *)a[1], (int)a[2], (mode_t)a[3]);
    case SYS_renameat2: return renameat2((int)a[0], (char *)a[1], (int)a[2], (char *)a[3], (unsigned)a[4]);
    case SYS_unlinkat: return unlinkat((int)a[0], (char *)a[1], (int)a[2]);
    case SYS_mkdirat: return mkdirat((int)a[0], (char *)a[1], (mode_t)a[2]);
    case SYS_linkat: return linkat((int)a[0], (char *)a[1], (int)a[2], (char *)a[3], (int)a[4]);
    case SYS_symlinkat: return symlinkat((char *)a[0], (int)a[1], (char *)a[2]);
    case SYS_copy_file_range:
        return copy_file_range((int)a[0], (off_t *)a[1], (int)a[2], (off_t *)a[3], (size_t)a[4], (unsigned)a[5]);
    case SYS_sendfile: return sendfile((int)a[0], (int)a[1], (off_t *)a[2], (size_t)a[3]);
    case SYS_splice: return splice((int)a[0], (off_t *)a[1], (int)a[2], (off_t *)a[3], (size_t)a[4], (unsigned)a[5]);
    case SYS_mmap: return (long)mmap((void *)a[0], (size_t)a[1], (int)a[2], (int)a[3], (int)a[4], a[5]);
#ifdef SYS_open
    case SYS_open: return open_at(AT_FDCWD, (char *)a[0], (int)a[1], (mode_t)a[2]);
    case SYS_creat: return creat((char *)a[0], (mode_t)a[1]);
    case SYS_rename: return rename((char *)a[0], (char *)a[1]);
    case SYS_unlink: return unlink((char *)a[0]);
    case SYS_rmdir: return rmdir((char *)a[0]);
    case SYS_mkdir: return mkdir((char *)a[0], (mode_t)a[1]);
    case SYS_link: return link((char *)a[0], (char *)a[1]);
    case SYS_symlink: return symlink((char *)a[0], (char *)a[1]);
#endif
#ifdef SYS_renameat
    case SYS_renameat: return renameat((int)a[0], (char *)a[1], (int)a[2], (char *)a[3]);
#endif
    case SYS_openat2:
        if (*(uint64_t *)a[2] & (O_CREAT | O_TRUNC | O_TMPFILE) && locate((int)a[0], (char *)a[1]).watched)
            die("openat2 that makes a file", (char *)a[1]);
        break;
    case SYS_io_uring_setup: die("io_uring_setup", "writes past libc");
    case SYS_io_submit: die("io_submit", "writes past libc");
    default: break;
    }
    return answer(raw6(n, a[0], a[1], a[2], a[3], a[4], a[5]));
}

/* ---- start ---------------------------------------------------------------------------------------------------- */

__attribute__((constructor)) static void start(void) {
    const char *data = getenv("POWERCUT_DATA"), *dir = getenv("POWERCUT_SIDE"), *drop = getenv("POWERCUT_DROP_SYNC");
    struct stat st;
    if (!data || !dir) return;
    snprintf(side, sizeof side, "%s", dir);
    if (stat_at(AT_FDCWD, data, &st, 0) < 0) die("no data directory", data);
    device = st.st_dev;
    if (!watched_dir(&st)) die("the side directory is not prepared for this data directory", data);
    audit = getenv("POWERCUT_AUDIT") != NULL;
    drop_all = drop && strcmp(drop, "1") == 0;
    if (drop && !drop_all) snprintf(drop_part, sizeof drop_part, "%s", drop);
    const char *at = getenv("POWERCUT_KILL_AT_SYNC"), *slowness = getenv("POWERCUT_SLOW_SYNC");
    long pause = slowness ? atol(slowness) : 0;
    syncs_left = at ? atol(at) : 0;
    slow = (struct timespec){pause / 1000000, pause % 1000000 * 1000};
    pthread_atfork(take, give, give);
    const char *names[] = {"LD_PRELOAD", "POWERCUT_DATA", "POWERCUT_SIDE", "POWERCUT_AUDIT", "POWERCUT_DROP_SYNC",
                           "POWERCUT_SLOW_SYNC", "POWERCUT_KILL_AT_SYNC"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
    on = true;
}
