/* What a script says: the driver, its GPUs, and the faults of both. */
#ifndef SCRIPT_H
#define SCRIPT_H

#include <stddef.h>
#include <stdint.h>

enum { MAX_GPUS = 16, MAX_INSTANCES = 8, MAX_PROCESSES = 32, MAX_FAULTS = 32, MAX_EVENTS = 32, TEXT = 96 };

/* A figure: fixed, moving between two bounds, or growing with time. */
struct figure {
    int is_set;
    double from, to;  /* equal unless it moves */
    double per_s;     /* growth; 0 unless it is a counter */
};

struct fault {
    char function[64];  /* "*" is every function of the device */
    int code;           /* what it returns; 0 only delays */
    int delay_ms;       /* before it returns; -1 hangs until the script says otherwise */
};

struct process {
    unsigned pid;
    int is_graphics;
    uint64_t memory;  /* UINT64_MAX: not available */
    int sm_percent;   /* -1: the driver took no sample */
};

struct event {
    unsigned serial;  /* delivered once each, in rising order */
    int gpu;
    uint64_t type, data;
};

/* The names of the figures that a GPU can have; see README.md. */
#define FIGURES(each)                                                                                          \
    each(memory_total) each(memory_used) each(memory_reserved) each(utilization) each(memory_utilization)      \
    each(encoder) each(decoder) each(temperature) each(memory_temperature) each(fan) each(power) each(power_limit) \
    each(power_limit_max) each(energy) each(clock_sm) each(clock_memory) each(clock_sm_max) each(clock_memory_max) \
    each(pcie_generation) each(pcie_width) each(pcie_generation_max) each(pcie_width_max) each(pcie_rx) each(pcie_tx) \
    each(nvlink_rx) each(nvlink_tx) each(ecc_corrected) each(ecc_uncorrected) each(ecc_corrected_lifetime)     \
    each(ecc_uncorrected_lifetime) each(rows_corrected) each(rows_uncorrected) each(remap_pending)             \
    each(remap_failed) each(throttle) each(pstate) each(compute_major) each(compute_minor) each(mig_mode)

struct gpu {
    char uuid[TEXT], name[TEXT], serial[TEXT], vbios[TEXT], pci[TEXT];
    struct figure figures[64];
    struct process processes[MAX_PROCESSES];
    int process_count;
    struct fault faults[MAX_FAULTS];
    int fault_count;
    struct gpu *instances; /* MIG; MAX_INSTANCES of them for a physical GPU */
    int instance_count;
};

struct script {
    char driver[TEXT], library[TEXT];
    unsigned generation; /* another one: the driver was reloaded */
    int gpu_count;
    struct gpu gpus[MAX_GPUS];
    struct gpu instances[MAX_GPUS][MAX_INSTANCES];
    struct fault faults[MAX_FAULTS]; /* of functions that take no device */
    int fault_count;
    struct event events[MAX_EVENTS];
    int event_count;
};

enum figure_name {
#define NAME(name) FIGURE_##name,
    FIGURES(NAME)
#undef NAME
    FIGURE_COUNT
};

/* Read a script from a file. Returns 0, or the number of the line at fault with what is wrong in `problem`
 * (-1 when the file cannot be read). */
int script_read(const char *path, struct script *into, char *problem, size_t problem_size);

#endif
