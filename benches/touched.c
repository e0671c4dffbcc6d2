// touched PROGRAM ARGUMENT...: runs a static program and its re-executed helper one instruction at a time and says
// on standard output which offsets of it each ran, as lines of `caller OFFSET` and `helper OFFSET`. For order.py.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGEST = 1 << 26 };
static unsigned char seen[2][LARGEST];
static pid_t process[2];
static unsigned long base[2];

static unsigned long base_of(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    unsigned long start = 0;
    if (!maps || fscanf(maps, "%lx", &start) != 1) exit(1);
    fclose(maps);
    return start;
}

int main(int count, char **words) {
    if (count < 2) return 2;
    pid_t caller = fork();
    if (!caller) {
        int nowhere = 1;
        // What the program says is not what we say.
        dup2(2, nowhere);
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        execv(words[1], words + 1);
        _exit(127);
    }
    int status;
    waitpid(caller, &status, 0);
    ptrace(PTRACE_SETOPTIONS, caller, 0, PTRACE_O_TRACEVFORK | PTRACE_O_TRACEFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    ptrace(PTRACE_CONT, caller, 0, 0);
    for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR;) {
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (pid == caller) break;
            continue;
        }
        if (status >> 16 == PTRACE_EVENT_EXEC) {
            int who = pid != caller;
            process[who] = pid;
            base[who] = base_of(pid);
        }
        int who = pid == process[1] ? 1 : 0;
        struct user_regs_struct registers;
        if (process[who] == pid && !ptrace(PTRACE_GETREGS, pid, 0, &registers)) {
            unsigned long offset = registers.rip - base[who];
            if (offset < LARGEST) seen[who][offset] = 1;
        }
        int signal = WSTOPSIG(status);
        ptrace(process[who] == pid ? PTRACE_SINGLESTEP : PTRACE_CONT, pid, 0, signal == SIGTRAP || signal == SIGSTOP ? 0 : signal);
    }
    for (int who = 1; who >= 0; who--)
        for (unsigned long offset = 0; offset < LARGEST; offset++)
            if (seen[who][offset]) printf("%s %lx\n", who ? "helper" : "caller", offset);
    return 0;
}
