/* Reads the script: one statement a line, `#` starts a comment. README.md has the grammar. */
#include "script.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const FIGURE_NAMES[] = {
#define NAME(name) #name,
    FIGURES(NAME)
#undef NAME
};

static const struct {
    const char *name;
    int code;
} CODES[] = {
    {"success", 0},           {"uninitialized", 1},        {"invalid_argument", 2},  {"not_supported", 3},
    {"no_permission", 4},     {"not_found", 6},            {"driver_not_loaded", 9}, {"timeout", 10},
    {"irq_issue", 11},        {"library_not_found", 12},   {"function_not_found", 13}, {"corrupted_inforom", 14},
    {"gpu_is_lost", 15},      {"reset_required", 16},      {"operating_system", 17}, {"version_mismatch", 18},
    {"in_use", 19},           {"memory", 20},              {"no_data", 21},          {"unknown", 999},
};

static int find_code(const char *name)
{
    for (size_t at = 0; at < sizeof CODES / sizeof *CODES; at++)
        if (strcmp(CODES[at].name, name) == 0)
            return CODES[at].code;
    return -1;
}

static int copy_text(char *into, const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length >= TEXT)
        return -1;
    memcpy(into, text, length + 1);
    return 0;
}

/* "12", "10..90" (moves between both once a minute), "1000+250/s" (grows). */
static int parse_figure(const char *text, struct figure *figure)
{
    char *end;
    const char *dots = strstr(text, "..");
    errno = 0;
    figure->from = figure->to = strtod(text, &end);
    figure->per_s = 0;
    if (end == text || errno)
        return -1;
    if (dots != NULL) {
        const char *second = dots + 2;
        if (end != dots && end != dots + 1) /* "4." is a number too */
            return -1;
        figure->to = strtod(second, &end);
        if (end == second)
            return -1;
    } else if (*end == '+') {
        const char *second = end + 1;
        figure->per_s = strtod(second, &end);
        if (end == second || strcmp(end, "/s") != 0)
            return -1;
        end += 2;
    }
    figure->is_set = 1;
    return *end == '\0' ? 0 : -1;
}

static int parse_fault(const char *rest, const char *kind, struct fault *faults, int *count)
{
    struct fault fault = {"", 0, 0};
    char word[64] = "";
    if (*count == MAX_FAULTS)
        return -1;
    if (sscanf(rest, "%63s %63s", fault.function, word) < 1)
        return -1;
    if (strcmp(kind, "fault") == 0) {
        if ((fault.code = find_code(word)) < 0)
            return -1;
    } else if (strcmp(kind, "delay") == 0) {
        fault.delay_ms = atoi(word);
        if (fault.delay_ms <= 0)
            return -1;
    } else {
        fault.delay_ms = -1;
    }
    faults[(*count)++] = fault;
    return 0;
}

static int parse_process(const char *rest, struct gpu *gpu)
{
    struct process process = {0, 0, 0, -1};
    char kind[16], memory[32];
    if (gpu->process_count == MAX_PROCESSES)
        return -1;
    if (sscanf(rest, "%u %15s %31s %d", &process.pid, kind, memory, &process.sm_percent) < 3)
        return -1;
    process.is_graphics = strcmp(kind, "graphics") == 0;
    process.memory = strcmp(memory, "-") == 0 ? UINT64_MAX : strtoull(memory, NULL, 10);
    gpu->processes[gpu->process_count++] = process;
    return process.is_graphics || strcmp(kind, "compute") == 0 ? 0 : -1;
}

static int parse_event(const char *rest, struct script *script)
{
    struct event event = {0, 0, 0, 0};
    char kind[16];
    unsigned long long data = 0;
    if (script->event_count == MAX_EVENTS)
        return -1;
    if (sscanf(rest, "%u %d %15s %llu", &event.serial, &event.gpu, kind, &data) < 3)
        return -1;
    event.type = strcmp(kind, "xid") == 0 ? 8 : strcmp(kind, "ecc") == 0 ? 2 : 0;
    event.data = data;
    script->events[script->event_count++] = event;
    return event.type != 0 && event.gpu >= 0 && event.gpu < MAX_GPUS ? 0 : -1;
}

static int parse_gpu_word(const char *word, const char *rest, struct gpu *gpu)
{
    if (strcmp(word, "uuid") == 0)
        return copy_text(gpu->uuid, rest);
    if (strcmp(word, "name") == 0)
        return copy_text(gpu->name, rest);
    if (strcmp(word, "serial") == 0)
        return copy_text(gpu->serial, rest);
    if (strcmp(word, "vbios") == 0)
        return copy_text(gpu->vbios, rest);
    if (strcmp(word, "pci") == 0)
        return copy_text(gpu->pci, rest);
    if (strcmp(word, "process") == 0)
        return parse_process(rest, gpu);
    if (strcmp(word, "fault") == 0 || strcmp(word, "delay") == 0 || strcmp(word, "hang") == 0)
        return parse_fault(rest, word, gpu->faults, &gpu->fault_count);
    for (int at = 0; at < FIGURE_COUNT; at++)
        if (strcmp(word, FIGURE_NAMES[at]) == 0)
            return parse_figure(rest, &gpu->figures[at]);
    return -1;
}

static int parse_line(const char *word, const char *rest, struct script *script, struct gpu **gpu, struct gpu **whole)
{
    if (strcmp(word, "gpu") == 0) {
        if (script->gpu_count == MAX_GPUS)
            return -1;
        *gpu = *whole = &script->gpus[script->gpu_count];
        (*gpu)->instances = script->instances[script->gpu_count++];
        return copy_text((*gpu)->uuid, rest);
    }
    if (strcmp(word, "instance") == 0) {
        if (*whole == NULL || (*whole)->instance_count == MAX_INSTANCES)
            return -1;
        *gpu = &(*whole)->instances[(*whole)->instance_count++];
        return copy_text((*gpu)->uuid, rest);
    }
    if (*gpu != NULL)
        return strcmp(word, "event") == 0 ? parse_event(rest, script) : parse_gpu_word(word, rest, *gpu);
    if (strcmp(word, "driver") == 0)
        return copy_text(script->driver, rest);
    if (strcmp(word, "library") == 0)
        return copy_text(script->library, rest);
    if (strcmp(word, "generation") == 0)
        return sscanf(rest, "%u", &script->generation) == 1 ? 0 : -1;
    if (strcmp(word, "event") == 0)
        return parse_event(rest, script);
    if (strcmp(word, "fault") == 0 || strcmp(word, "delay") == 0 || strcmp(word, "hang") == 0)
        return parse_fault(rest, word, script->faults, &script->fault_count);
    return -1;
}

int script_read(const char *path, struct script *into, char *problem, size_t problem_size)
{
    char line[512];
    struct gpu *gpu = NULL, *whole = NULL;
    int number = 0, failed = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        snprintf(problem, problem_size, "%s: %s", path, strerror(errno));
        return -1;
    }
    memset(into, 0, sizeof *into);
    while (!failed && fgets(line, sizeof line, file) != NULL) {
        char word[64] = "";
        int after = 0;
        number++;
        line[strcspn(line, "#\n")] = '\0';
        for (size_t end = strlen(line); end > 0 && strchr(" \t\r", line[end - 1]); end--)
            line[end - 1] = '\0';
        if (sscanf(line, " %63s %n", word, &after) < 1)
            continue;
        if (parse_line(word, line + after, into, &gpu, &whole) != 0) {
            snprintf(problem, problem_size, "%s:%d: cannot understand: %.200s", path, number, line);
            failed = number;
        }
    }
    fclose(file);
    return failed;
}
