/* A program to be watched by powercut.c: does what its arguments say, in its current directory, a call for a word.
 * The writes past libc at the end are there to be caught. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char **word;

static void check(long ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "subject: %s: %s\n", what, strerror(errno));
    exit(3);
}
static const char *next(void) {
    check(*word != NULL, "an argument is missing");
    return *word++;
}
static long number(void) { return atol(next()); }
static int file(const char *name, int more) {
    int fd = open(name, O_RDWR | more, 0644);
    check(fd >= 0, name);
    return fd;
}
static int directory(const char *name) {
    int fd = open(name, O_RDONLY | O_DIRECTORY);
    check(fd >= 0, name);
    return fd;
}

static void *appender(void *name) {
    int fd = open(name, O_WRONLY | O_CREAT | O_APPEND, 0644);
    for (int i = 0; i < 200; i++) {
        char line[16];
        snprintf(line, sizeof line, "line %05d....\n", i);
        check(write(fd, line, 15) == 15, "append");
        check(fdatasync(fd) == 0, "sync");
    }
    return NULL;
}

#if defined(__x86_64__)
static long past_libc(long n, long a, long b, long c) {
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return r;
}
#elif defined(__aarch64__)
static long past_libc(long n, long a, long b, long c) {
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
#endif

int main(int count, char **args) {
    (void)count;
    for (word = args + 1; *word;) {
        const char *verb = next();
#define IS(name) (strcmp(verb, name) == 0)
        if (IS("write")) { /* NAME OFFSET TEXT */
            int fd = file(next(), O_CREAT);
            long at = number();
            const char *text = next();
            check(pwrite(fd, text, strlen(text), at) == (long)strlen(text), verb);
            close(fd);
        } else if (IS("append") || IS("dsync")) { /* NAME TEXT */
            int fd = file(next(), O_CREAT | O_APPEND | (IS("dsync") ? O_DSYNC : 0));
            const char *text = next();
            check(write(fd, text, strlen(text)) == (long)strlen(text), verb);
            close(fd);
        } else if (IS("through-dup")) { /* NAME TEXT */
            int fd = file(next(), O_CREAT), other = fcntl(dup(fd), F_DUPFD_CLOEXEC, 50);
            close(fd);
            const char *text = next();
            struct iovec parts[2] = {{(void *)text, 1}, {(void *)(text + 1), strlen(text) - 1}};
            check(writev(other, parts, 2) == (long)strlen(text), verb);
        } else if (IS("fill")) { /* NAME OFFSET LENGTH LETTER */
            int fd = file(next(), O_CREAT);
            long at = number(), n = number();
            char *data = malloc((size_t)n);
            memset(data, *next(), (size_t)n);
            struct iovec one = {data, (size_t)n};
            check(pwritev(fd, &one, 1, at) == n, verb);
            close(fd);
            free(data);
        } else if (IS("sync")) {
            int fd = file(next(), 0);
            check(fdatasync(fd) == 0, verb);
            close(fd);
        } else if (IS("syncdir")) {
            int fd = directory(next());
            check(fsync(fd) == 0, verb);
            close(fd);
        } else if (IS("truncate")) { /* NAME SIZE */
            int fd = file(next(), 0);
            check(ftruncate(fd, number()) == 0, verb);
            close(fd);
        } else if (IS("reserve")) { /* NAME SIZE */
            int fd = file(next(), O_CREAT);
            check(posix_fallocate(fd, 0, number()) == 0, verb);
            close(fd);
        } else if (IS("punch")) { /* NAME OFFSET LENGTH */
            int fd = file(next(), 0);
            long at = number(), n = number();
            check(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n) == 0, verb);
            close(fd);
        } else if (IS("empty")) {
            close(file(next(), O_TRUNC));
        } else if (IS("rename")) {
            const char *from = next();
            check(rename(from, next()) == 0, verb);
        } else if (IS("unlink")) {
            check(unlink(next()) == 0, verb);
        } else if (IS("mkdir")) {
            check(mkdir(next(), 0755) == 0, verb);
        } else if (IS("rmdir")) {
            check(rmdir(next()) == 0, verb);
        } else if (IS("link")) {
            const char *from = next();
            check(link(from, next()) == 0, verb);
        } else if (IS("symlink")) {
            const char *target = next();
            check(symlink(target, next()) == 0, verb);
        } else if (IS("nameless")) { /* NAME TEXT: O_TMPFILE, then a name */
            int fd = open(".", O_TMPFILE | O_RDWR, 0644);
            check(fd >= 0, verb);
            const char *name = next(), *text = next();
            char path[64];
            snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
            check(write(fd, text, strlen(text)) == (long)strlen(text), verb);
            check(linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0, verb);
            check(fsync(fd) == 0, verb);
        } else if (IS("copy") || IS("sendfile")) { /* FROM TO */
            int from = file(next(), 0), to = file(next(), O_CREAT);
            long n = IS("copy") ? copy_file_range(from, NULL, to, NULL, 1 << 20, 0) : sendfile(to, from, NULL, 1 << 20);
            check(n > 0, verb);
        } else if (IS("threads")) { /* NAME: four append and sync at once */
            const char *name = next();
            pthread_t all[4];
            for (int i = 0; i < 4; i++) pthread_create(&all[i], NULL, appender, (void *)name);
            for (int i = 0; i < 4; i++) pthread_join(all[i], NULL);
        } else if (IS("child")) { /* NAME TEXT: a program of its own, not watched */
            char command[512];
            const char *name = next();
            snprintf(command, sizeof command, "printf %%s %s > %s", next(), name);
            check(system(command) == 0, verb);
        } else if (IS("syscall")) { /* NAME TEXT */
            int fd = file(next(), O_CREAT);
            const char *text = next();
            check(syscall(SYS_write, fd, text, strlen(text)) == (long)strlen(text), verb);
        } else if (IS("kill")) {
            raise(SIGKILL);
        } else if (IS("mmap")) {
            int fd = file(next(), 0);
            check(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED, verb);
        } else if (IS("fopen")) {
            check(fopen(next(), "w") != NULL, verb);
        } else if (IS("io_uring")) {
            char params[120] = {0};
            syscall(SYS_io_uring_setup, 4, params);
        } else if (IS("past-write")) { /* NAME TEXT */
            int fd = file(next(), O_CREAT);
            const char *text = next();
            check(past_libc(SYS_write, fd, (long)text, (long)strlen(text)) > 0, verb);
        } else if (IS("past-truncate")) { /* NAME SIZE */
            int fd = file(next(), 0);
            check(past_libc(SYS_ftruncate, fd, number(), 0) == 0, verb);
        } else if (IS("past-mkdir")) {
            check(past_libc(SYS_mkdirat, AT_FDCWD, (long)next(), 0755) == 0, verb);
        } else if (IS("past-unlink")) {
            check(past_libc(SYS_unlinkat, AT_FDCWD, (long)next(), 0) == 0, verb);
        } else {
            fprintf(stderr, "subject: no such word: %s\n", verb);
            return 2;
        }
    }
    return 0;
}
