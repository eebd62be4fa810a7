/* Replaces functions of the C library in a process under test. Each reads its fault from the environment; without
   it the real function does the work. See mod.rs for the variables. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int number(const char *variable) {
    const char *text = getenv(variable);
    return text ? atoi(text) : 0;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    int fault = number("FAULT_RESOLVE");
    return fault ? fault : REAL(getaddrinfo)(host, service, hints, result);
}

int flock(int fd, int operation);
int flock(int fd, int operation) {
    int fault = number("FAULT_FLOCK");
    if (fault) {
        errno = fault;
        return -1;
    }
    return REAL(flock)(fd, operation);
}

struct statx;
int statx(int directory, const char *path, int flags, unsigned mask, struct statx *result);
int statx(int directory, const char *path, int flags, unsigned mask, struct statx *result) {
    int fault = number("FAULT_STATX");
    if (fault && strstr(path, "/_temporary/")) {
        errno = fault;
        return -1;
    }
    return REAL(statx)(directory, path, flags, mask, result);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    const char *fault = getenv("FAULT_CLOCK");
    if (fault && clock == CLOCK_REALTIME) {
        time->tv_sec = atoll(fault);
        time->tv_nsec = 0;
        return 0;
    }
    return REAL(clock_gettime)(clock, time);
}

static int is_unlistable(const char *path) {
    const char *suffix = getenv("FAULT_LIST");
    size_t length = suffix ? strlen(suffix) : 0;
    return length && strlen(path) >= length && strcmp(path + strlen(path) - length, suffix) == 0;
}

DIR *opendir(const char *path) {
    if (is_unlistable(path)) {
        errno = EACCES;
        return NULL;
    }
    return REAL(opendir)(path);
}

int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    if ((flags & O_ACCMODE) == O_RDONLY && is_unlistable(path)) {
        errno = EACCES;
        return -1;
    }
    return REAL(open64)(path, flags, mode);
}

int fsync(int fd) {
    const char *log = getenv("LOG_FSYNC");
    if (log) {
        char link[64], path[4096];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof path - 1);
        FILE *file = fopen(log, "a");
        if (file && length > 0)
            fprintf(file, "%.*s\n", (int)length, path);
        if (file)
            fclose(file);
    }
    return REAL(fsync)(fd);
}

struct start {
    void *(*function)(void *);
    void *argument;
};

static atomic_int threads;

static void *run(void *start) {
    struct start copy = *(struct start *)start;
    free(start);
    void *result = copy.function(copy.argument);
    atomic_fetch_sub(&threads, 1);
    return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*function)(void *), void *argument) {
    const char *limit = getenv("FAULT_THREADS");
    if (!limit)
        return REAL(pthread_create)(thread, attributes, function, argument);
    if (atomic_fetch_add(&threads, 1) >= atoi(limit)) {
        atomic_fetch_sub(&threads, 1);
        return EAGAIN;
    }
    struct start *start = malloc(sizeof *start);
    *start = (struct start){function, argument};
    return REAL(pthread_create)(thread, attributes, run, start);
}
