/* A scripted libnvidia-ml.so.1: the symbols that nvidia-ml-py binds, answered from a text file.
 *
 * The file is named by NVML_SCRIPT and read again whenever it changes, so a test can let a GPU fall off the bus, hang
 * a call or reload the driver while a program runs. The structures are those of NVIDIA's public header, declared here
 * by their layout so that nothing of the driver is needed to build this. README.md has the grammar.
 */
#include "script.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    TIMEOUT = 10,
    UNKNOWN = 999
};

typedef struct gpu *device_t;

struct memory { unsigned long long total, free, used; };
struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };
struct utilization { unsigned gpu, memory; };
struct pci { char legacy[16]; unsigned domain, bus, device, device_id, subsystem_id; char bus_id[32]; };
struct process_info { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; };
struct process_sample { unsigned pid; unsigned long long at_us; unsigned sm, memory, encoder, decoder; };
struct event_data { device_t device; unsigned long long type, data; unsigned gpu_instance, compute_instance; };
struct field_value {
    unsigned field, scope;
    long long at_us, latency_us;
    int type, code;
    union { double d; unsigned u; unsigned long long ull; } value;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct script script, incoming;
static struct stat known;
static int is_read, users;
static unsigned open_generation, last_event;
static char event_set; /* its address is the handle of every event set */

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Read the script again if the file is another one than before; a broken script is told, and the old one stays. */
static void refresh(void)
{
    char problem[320];
    const char *path = getenv("NVML_SCRIPT");
    struct stat found;
    if (path == NULL || stat(path, &found) != 0)
        return;
    if (is_read && found.st_ino == known.st_ino && found.st_size == known.st_size &&
        found.st_mtim.tv_sec == known.st_mtim.tv_sec && found.st_mtim.tv_nsec == known.st_mtim.tv_nsec)
        return;
    known = found;
    if (script_read(path, &incoming, problem, sizeof problem) != 0) {
        fprintf(stderr, "scripted NVML: %s\n", problem);
        return;
    }
    script = incoming;
    /* The instances were linked to the copy that was read into. */
    for (int at = 0; at < MAX_GPUS; at++)
        script.gpus[at].instances = script.instances[at];
    is_read = 1;
}

static const struct fault *find_fault(const struct fault *faults, int count, const char *function)
{
    for (int at = 0; at < count; at++)
        if (strcmp(faults[at].function, function) == 0 || strcmp(faults[at].function, "*") == 0)
            return &faults[at];
    return NULL;
}

static int is_instance(const struct gpu *device)
{
    const char *first = (const char *)script.instances, *at = (const char *)device;
    return at >= first && at < first + sizeof script.instances;
}

static int is_device(const struct gpu *device)
{
    if (is_instance(device)) {
        ptrdiff_t place = device - &script.instances[0][0];
        return place % MAX_INSTANCES < script.gpus[place / MAX_INSTANCES].instance_count;
    }
    return device >= script.gpus && device < script.gpus + script.gpu_count;
}

/* Every call starts here: `device` is NULL for functions without one. Holds the lock only while it looks. */
static int enter(const char *function, const struct gpu *device, int has_device)
{
    for (;;) {
        const struct fault *fault = NULL;
        int code = SUCCESS, delay_ms = 0;
        pthread_mutex_lock(&lock);
        refresh();
        if (users == 0 || open_generation != script.generation)
            code = UNINITIALIZED;
        else if (has_device && !is_device(device))
            code = INVALID_ARGUMENT;
        else
            fault = has_device ? find_fault(device->faults, device->fault_count, function)
                               : find_fault(script.faults, script.fault_count, function);
        if (fault != NULL) {
            code = fault->code;
            delay_ms = fault->delay_ms;
        }
        pthread_mutex_unlock(&lock);
        if (delay_ms >= 0) {
            struct timespec pause = {delay_ms / 1000, (long)(delay_ms % 1000) * 1000000L};
            if (delay_ms > 0)
                nanosleep(&pause, NULL);
            return code;
        }
        struct timespec tick = {0, 5000000L};
        nanosleep(&tick, NULL);
    }
}

#define ENTER_SYSTEM()                              \
    do {                                            \
        int code_ = enter(__func__, NULL, 0);       \
        if (code_ != SUCCESS)                       \
            return code_;                           \
    } while (0)
#define ENTER(device)                               \
    do {                                            \
        int code_ = enter(__func__, device, 1);     \
        if (code_ != SUCCESS)                       \
            return code_;                           \
    } while (0)

static int figure(const struct gpu *device, enum figure_name name, double *value)
{
    const struct figure *found = &device->figures[name];
    if (!found->is_set)
        return NOT_SUPPORTED;
    double phase = now_s() / 60.0 + (double)(device - script.gpus) / 8.0;
    double share = found->from == found->to ? 0 : 0.5 - 0.5 * cos(phase * 2 * M_PI);
    *value = found->from + (found->to - found->from) * share + found->per_s * now_s();
    return SUCCESS;
}

static int figure_uint(const struct gpu *device, enum figure_name name, unsigned *value)
{
    double found = 0;
    int code = figure(device, name, &found);
    if (code == SUCCESS)
        *value = (unsigned)found;
    return code;
}

static int figure_u64(const struct gpu *device, enum figure_name name, unsigned long long *value)
{
    double found = 0;
    int code = figure(device, name, &found);
    if (code == SUCCESS)
        *value = (unsigned long long)found;
    return code;
}

static int give_text(const char *text, char *into, unsigned size)
{
    if (text[0] == '\0')
        return NOT_SUPPORTED;
    if (strlen(text) + 1 > size)
        return INSUFFICIENT_SIZE;
    memcpy(into, text, strlen(text) + 1);
    return SUCCESS;
}

/* --- the library itself --- */

EXPORT int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    pthread_mutex_lock(&lock);
    refresh();
    const struct fault *fault = find_fault(script.faults, script.fault_count, "nvmlInit");
    int code = fault ? fault->code : is_read ? SUCCESS : UNKNOWN;
    int delay_ms = fault && fault->delay_ms > 0 ? fault->delay_ms : 0;
    if (code == SUCCESS) {
        if (users == 0 || open_generation != script.generation)
            users = 0;
        users++;
        open_generation = script.generation;
    }
    pthread_mutex_unlock(&lock);
    struct timespec pause = {delay_ms / 1000, (long)(delay_ms % 1000) * 1000000L};
    nanosleep(&pause, NULL);
    return code;
}

EXPORT int nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

EXPORT int nvmlShutdown(void)
{
    pthread_mutex_lock(&lock);
    int code = users > 0 ? SUCCESS : UNINITIALIZED;
    if (users > 0)
        users--;
    pthread_mutex_unlock(&lock);
    return code;
}

EXPORT const char *nvmlErrorString(int code)
{
    static char text[32];
    snprintf(text, sizeof text, "scripted error %d", code);
    return text;
}

EXPORT int nvmlSystemGetDriverVersion(char *into, unsigned size)
{
    ENTER_SYSTEM();
    return give_text(script.driver, into, size);
}

EXPORT int nvmlSystemGetNVMLVersion(char *into, unsigned size)
{
    ENTER_SYSTEM();
    return give_text(script.library, into, size);
}

EXPORT int nvmlDeviceGetCount_v2(unsigned *count)
{
    ENTER_SYSTEM();
    *count = (unsigned)script.gpu_count;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *device)
{
    ENTER_SYSTEM();
    if (index >= (unsigned)script.gpu_count)
        return INVALID_ARGUMENT;
    *device = &script.gpus[index];
    return SUCCESS;
}

EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *address, device_t *device)
{
    ENTER_SYSTEM();
    size_t length = strlen(address);
    for (int at = 0; at < script.gpu_count; at++) {
        size_t own = strlen(script.gpus[at].pci);
        size_t tail = own < length ? own : length;
        if (tail > 0 && strcasecmp(script.gpus[at].pci + own - tail, address + length - tail) == 0) {
            *device = &script.gpus[at];
            return SUCCESS;
        }
    }
    return NOT_FOUND;
}

/* --- identity --- */

EXPORT int nvmlDeviceGetUUID(device_t device, char *into, unsigned size)
{
    ENTER(device);
    return give_text(device->uuid, into, size);
}

EXPORT int nvmlDeviceGetName(device_t device, char *into, unsigned size)
{
    ENTER(device);
    return give_text(device->name, into, size);
}

EXPORT int nvmlDeviceGetSerial(device_t device, char *into, unsigned size)
{
    ENTER(device);
    return give_text(device->serial, into, size);
}

EXPORT int nvmlDeviceGetVbiosVersion(device_t device, char *into, unsigned size)
{
    ENTER(device);
    return give_text(device->vbios, into, size);
}

EXPORT int nvmlDeviceGetPciInfo_v3(device_t device, struct pci *into)
{
    ENTER(device);
    memset(into, 0, sizeof *into);
    return give_text(device->pci, into->bus_id, sizeof into->bus_id);
}

EXPORT int nvmlDeviceGetCudaComputeCapability(device_t device, int *major, int *minor)
{
    ENTER(device);
    unsigned first = 0, second = 0;
    int code = figure_uint(device, FIGURE_compute_major, &first);
    if (code == SUCCESS)
        code = figure_uint(device, FIGURE_compute_minor, &second);
    *major = (int)first;
    *minor = (int)second;
    return code;
}

EXPORT int nvmlDeviceGetPowerManagementLimitConstraints(device_t device, unsigned *least, unsigned *most)
{
    ENTER(device);
    *least = 0;
    return figure_uint(device, FIGURE_power_limit_max, most);
}

EXPORT int nvmlDeviceGetMaxClockInfo(device_t device, int kind, unsigned *mhz)
{
    ENTER(device);
    return figure_uint(device, kind == 2 ? FIGURE_clock_memory_max : FIGURE_clock_sm_max, mhz);
}

/* --- figures --- */

#define UINT_FIGURE(function, name)                          \
    EXPORT int function(device_t device, unsigned *value)    \
    {                                                        \
        ENTER(device);                                       \
        return figure_uint(device, FIGURE_##name, value);    \
    }

#define BITS_FIGURE(function, name)                                 \
    EXPORT int function(device_t device, unsigned long long *value) \
    {                                                               \
        ENTER(device);                                              \
        return figure_u64(device, FIGURE_##name, value);            \
    }

UINT_FIGURE(nvmlDeviceGetMaxPcieLinkGeneration, pcie_generation_max)
UINT_FIGURE(nvmlDeviceGetMaxPcieLinkWidth, pcie_width_max)
UINT_FIGURE(nvmlDeviceGetCurrPcieLinkGeneration, pcie_generation)
UINT_FIGURE(nvmlDeviceGetCurrPcieLinkWidth, pcie_width)
UINT_FIGURE(nvmlDeviceGetPowerUsage, power)
UINT_FIGURE(nvmlDeviceGetEnforcedPowerLimit, power_limit)
UINT_FIGURE(nvmlDeviceGetFanSpeed, fan)
UINT_FIGURE(nvmlDeviceGetPerformanceState, pstate)
BITS_FIGURE(nvmlDeviceGetTotalEnergyConsumption, energy)
BITS_FIGURE(nvmlDeviceGetCurrentClocksEventReasons, throttle)
BITS_FIGURE(nvmlDeviceGetCurrentClocksThrottleReasons, throttle)

EXPORT int nvmlDeviceGetTemperature(device_t device, int sensor, unsigned *celsius)
{
    ENTER(device);
    return sensor == 0 ? figure_uint(device, FIGURE_temperature, celsius) : INVALID_ARGUMENT;
}

EXPORT int nvmlDeviceGetClockInfo(device_t device, int kind, unsigned *mhz)
{
    ENTER(device);
    return figure_uint(device, kind == 2 ? FIGURE_clock_memory : FIGURE_clock_sm, mhz);
}

EXPORT int nvmlDeviceGetMemoryInfo(device_t device, struct memory *memory)
{
    ENTER(device);
    unsigned long long reserved = 0;
    int code = figure_u64(device, FIGURE_memory_total, &memory->total);
    if (code == SUCCESS)
        code = figure_u64(device, FIGURE_memory_used, &memory->used);
    figure_u64(device, FIGURE_memory_reserved, &reserved);
    memory->used += reserved; /* the first version counts it as used */
    memory->free = memory->total - memory->used;
    return code;
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(device_t device, struct memory_v2 *memory)
{
    ENTER(device);
    int code = figure_u64(device, FIGURE_memory_total, &memory->total);
    if (code == SUCCESS)
        code = figure_u64(device, FIGURE_memory_used, &memory->used);
    memory->reserved = 0;
    figure_u64(device, FIGURE_memory_reserved, &memory->reserved);
    memory->free = memory->total - memory->used - memory->reserved;
    return code;
}

EXPORT int nvmlDeviceGetUtilizationRates(device_t device, struct utilization *rates)
{
    ENTER(device);
    rates->memory = 0;
    int code = figure_uint(device, FIGURE_utilization, &rates->gpu);
    if (code == SUCCESS)
        figure_uint(device, FIGURE_memory_utilization, &rates->memory);
    return code;
}

EXPORT int nvmlDeviceGetEncoderUtilization(device_t device, unsigned *percent, unsigned *period_us)
{
    ENTER(device);
    *period_us = 1000000;
    return figure_uint(device, FIGURE_encoder, percent);
}

EXPORT int nvmlDeviceGetDecoderUtilization(device_t device, unsigned *percent, unsigned *period_us)
{
    ENTER(device);
    *period_us = 1000000;
    return figure_uint(device, FIGURE_decoder, percent);
}

EXPORT int nvmlDeviceGetTotalEccErrors(device_t device, int kind, int span, unsigned long long *count)
{
    ENTER(device);
    static const enum figure_name NAMES[2][2] = {
        {FIGURE_ecc_corrected, FIGURE_ecc_corrected_lifetime},
        {FIGURE_ecc_uncorrected, FIGURE_ecc_uncorrected_lifetime},
    };
    if (kind < 0 || kind > 1 || span < 0 || span > 1)
        return INVALID_ARGUMENT;
    return figure_u64(device, NAMES[kind][span], count);
}

EXPORT int nvmlDeviceGetRemappedRows(device_t device, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                                     unsigned *failed)
{
    ENTER(device);
    int code = figure_uint(device, FIGURE_rows_corrected, corrected);
    *uncorrected = *pending = *failed = 0;
    figure_uint(device, FIGURE_rows_uncorrected, uncorrected);
    figure_uint(device, FIGURE_remap_pending, pending);
    figure_uint(device, FIGURE_remap_failed, failed);
    return code;
}

EXPORT int nvmlDeviceGetFieldValues(device_t device, int count, struct field_value *values)
{
    ENTER(device);
    for (int at = 0; at < count; at++) {
        double found = 0;
        enum figure_name name = FIGURE_COUNT;
        switch (values[at].field) {
        case 82: name = FIGURE_memory_temperature; break;
        case 138: name = FIGURE_nvlink_tx; break;
        case 139: name = FIGURE_nvlink_rx; break;
        case 197: name = FIGURE_pcie_tx; break;
        case 198: name = FIGURE_pcie_rx; break;
        default: break;
        }
        values[at].code = name == FIGURE_COUNT ? NOT_SUPPORTED : figure(device, name, &found);
        values[at].type = name == FIGURE_memory_temperature ? 1 : 3;
        if (values[at].type == 1)
            values[at].value.u = (unsigned)found;
        else
            values[at].value.ull = (unsigned long long)found;
    }
    return SUCCESS;
}

/* --- processes --- */

static int list_processes(const struct gpu *device, int is_graphics, unsigned *count, struct process_info *infos)
{
    unsigned room = *count, found = 0;
    for (int at = 0; at < device->process_count; at++) {
        const struct process *process = &device->processes[at];
        if (process->is_graphics != is_graphics)
            continue;
        if (infos != NULL && found < room) {
            struct process_info info = {process->pid, process->memory, 0, 0};
            infos[found] = info;
        }
        found++;
    }
    *count = found;
    return found > room ? INSUFFICIENT_SIZE : SUCCESS;
}

EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(device_t device, unsigned *count, struct process_info *infos)
{
    ENTER(device);
    return list_processes(device, 0, count, infos);
}

EXPORT int nvmlDeviceGetGraphicsRunningProcesses_v3(device_t device, unsigned *count, struct process_info *infos)
{
    ENTER(device);
    return list_processes(device, 1, count, infos);
}

EXPORT int nvmlDeviceGetProcessUtilization(device_t device, struct process_sample *samples, unsigned *count,
                                           unsigned long long since_us)
{
    ENTER(device);
    unsigned long long now_us = (unsigned long long)(now_s() * 1e6);
    unsigned found = 0;
    if (is_instance(device))
        return NOT_SUPPORTED;
    for (int at = 0; at < device->process_count && since_us < now_us; at++) {
        const struct process *process = &device->processes[at];
        if (process->sm_percent < 0)
            continue;
        if (samples != NULL && found < *count) {
            struct process_sample sample = {process->pid, now_us, (unsigned)process->sm_percent, 0, 0, 0};
            samples[found] = sample;
        }
        found++;
    }
    if (found == 0)
        return NOT_FOUND;
    int fits = samples != NULL && found <= *count;
    *count = found;
    return fits ? SUCCESS : INSUFFICIENT_SIZE;
}

/* --- MIG --- */

EXPORT int nvmlDeviceGetMigMode(device_t device, unsigned *current, unsigned *pending)
{
    ENTER(device);
    int code = figure_uint(device, FIGURE_mig_mode, current);
    *pending = *current;
    return code;
}

EXPORT int nvmlDeviceGetMaxMigDeviceCount(device_t device, unsigned *count)
{
    ENTER(device);
    *count = MAX_INSTANCES - 1;
    return SUCCESS;
}

EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(device_t device, unsigned index, device_t *instance)
{
    ENTER(device);
    if (is_instance(device) || index >= MAX_INSTANCES)
        return INVALID_ARGUMENT;
    if (index >= (unsigned)device->instance_count)
        return NOT_FOUND;
    *instance = &device->instances[index];
    return SUCCESS;
}

/* --- events --- */

EXPORT int nvmlEventSetCreate(void **set)
{
    ENTER_SYSTEM();
    *set = &event_set;
    return SUCCESS;
}

EXPORT int nvmlEventSetFree(void *set)
{
    ENTER_SYSTEM();
    return set == &event_set ? SUCCESS : INVALID_ARGUMENT;
}

EXPORT int nvmlDeviceGetSupportedEventTypes(device_t device, unsigned long long *types)
{
    ENTER(device);
    *types = 2 | 8;
    return SUCCESS;
}

EXPORT int nvmlDeviceRegisterEvents(device_t device, unsigned long long types, void *set)
{
    ENTER(device);
    return set == &event_set && types != 0 ? SUCCESS : INVALID_ARGUMENT;
}

EXPORT int nvmlEventSetWait_v2(void *set, struct event_data *data, unsigned timeout_ms)
{
    ENTER_SYSTEM();
    (void)timeout_ms; /* events are there or not: a script does not bring one while a call waits */
    if (set != &event_set)
        return INVALID_ARGUMENT;
    for (int at = 0; at < script.event_count; at++) {
        const struct event *event = &script.events[at];
        if (event->serial <= last_event)
            continue;
        last_event = event->serial;
        struct event_data found = {&script.gpus[event->gpu], event->type, event->data, 0, 0};
        *data = found;
        return SUCCESS;
    }
    return TIMEOUT;
}
