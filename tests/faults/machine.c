/* A machine whose clock is set and whose disk fails: a library to preload.
 *
 * Environment: MACHINE_TOLD is a file of struct told, mapped and read at each call, so that the test changes it while
 * the program runs. MACHINE_SYNC is a part of the paths whose syncs fail while `fail_sync` is set.
 * Only the process started with it is concerned: the variables are taken out of its environment. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct told {
    int64_t clock_ms;  /* how far the clock is off */
    int64_t fail_sync; /* whether syncs fail */
};

static volatile struct told *told;
static char sync_part[256];

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("MACHINE_TOLD"), *part = getenv("MACHINE_SYNC");
    if (!path) return;
    if (part) snprintf(sync_part, sizeof sync_part, "%s", part);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *told, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
        fprintf(stderr, "machine: %s: %s\n", path, strerror(errno));
        abort();
    }
    close(fd);
    told = at;
    unsetenv("LD_PRELOAD");
    unsetenv("MACHINE_TOLD");
    unsetenv("MACHINE_SYNC");
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && told && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = now->tv_nsec + told->clock_ms % 1000 * 1000000;
        now->tv_sec += told->clock_ms / 1000 + (ns >= 1000000000) - (ns < 0);
        now->tv_nsec = (ns + 1000000000) % 1000000000;
    }
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec at;
    int result = clock_gettime(CLOCK_REALTIME, &at);
    now->tv_sec = at.tv_sec;
    now->tv_usec = at.tv_nsec / 1000;
    return result;
}

time_t time(time_t *to) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (to) *to = at.tv_sec;
    return at.tv_sec;
}

static int fails(int fd) {
    if (!told || !told->fail_sync) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, sync_part) != NULL;
}

int fdatasync(int fd) {
    if (fails(fd)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    if (fails(fd)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}
