/* A libnvidia-ml.so.1 without a GPU: one board whose power is known, as a driver would tell of it.
 *
 * STUB_NVML_WATTS   the board's power, 100 by itself
 * STUB_NVML_STEP_MS how often its energy counter is renewed, 20 by itself
 * STUB_NVML_REFUSE  an nvmlReturn_t with which energy and power are answered instead, as by a virtual GPU (3)
 *
 * Structures and codes are those of nvml.h; the counter is that of a driver loaded when CLOCK_MONOTONIC was 0.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { POWER_AVERAGE = 185, POWER_INSTANT = 186, TYPE_UNSIGNED_INT = 1 };

typedef int Return;
typedef void *Device;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct {
    unsigned field, scope;
    long long timestamp, latency_us;
    unsigned type;
    Return status;
    union { double real; unsigned whole; unsigned long long longest; } value;
} FieldValue;

static const char UUID[] = "GPU-5b0ad000-0000-4000-8000-000000000000";
static const unsigned long long MIB = 1024 * 1024;
static int started;
static char board; /* what a handle points to */

static double number(const char *variable, double otherwise) {
    const char *given = getenv(variable);
    return given && *given ? atof(given) : otherwise;
}

static unsigned milliwatts(void) { return (unsigned)(number("STUB_NVML_WATTS", 100) * 1e3); }

static Return text(const char *told, char *out, unsigned size) {
    return (unsigned)snprintf(out, size, "%s", told) < size ? SUCCESS : INSUFFICIENT_SIZE;
}

static Return asked(Device device) {
    if (started <= 0) return UNINITIALIZED;
    return device == &board ? SUCCESS : INVALID_ARGUMENT;
}

static Return metered(Device device) {
    Return status = asked(device);
    return status ? status : (Return)number("STUB_NVML_REFUSE", SUCCESS);
}

static Return whole(Return status, unsigned value, unsigned *out) {
    if (status == SUCCESS) *out = value;
    return status;
}

Return nvmlInitWithFlags(unsigned flags) { (void)flags; started++; return SUCCESS; }
Return nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

Return nvmlShutdown(void) {
    if (started <= 0) return UNINITIALIZED;
    started--;
    return SUCCESS;
}

const char *nvmlErrorString(Return code) { return code == SUCCESS ? "Success" : "Refused"; }
Return nvmlSystemGetDriverVersion(char *out, unsigned size) { return text("580.65.06", out, size); }
Return nvmlSystemGetNVMLVersion(char *out, unsigned size) { return text("13.580.65.06", out, size); }
Return nvmlSystemGetCudaDriverVersion(int *out) { *out = 13000; return SUCCESS; }
Return nvmlSystemGetCudaDriverVersion_v2(int *out) { return nvmlSystemGetCudaDriverVersion(out); }

Return nvmlDeviceGetCount_v2(unsigned *out) { return whole(started > 0 ? SUCCESS : UNINITIALIZED, 1, out); }

static Return handle(int known, Return otherwise, Device *out) {
    if (started <= 0) return UNINITIALIZED;
    if (!known) return otherwise;
    *out = &board;
    return SUCCESS;
}

Return nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *out) { return handle(index == 0, INVALID_ARGUMENT, out); }
Return nvmlDeviceGetHandleByUUID(const char *uuid, Device *out) { return handle(!strcmp(uuid, UUID), NOT_FOUND, out); }

Return nvmlDeviceGetName(Device device, char *out, unsigned size) {
    Return status = asked(device);
    return status ? status : text("kdbench stub GPU", out, size);
}

Return nvmlDeviceGetUUID(Device device, char *out, unsigned size) {
    Return status = asked(device);
    return status ? status : text(UUID, out, size);
}

Return nvmlDeviceGetIndex(Device device, unsigned *out) { return whole(asked(device), 0, out); }
Return nvmlDeviceIsMigDeviceHandle(Device device, unsigned *out) { return whole(asked(device), 0, out); }

Return nvmlDeviceGetMigMode(Device device, unsigned *current, unsigned *pending) {
    (void)current, (void)pending;
    Return status = asked(device);
    return status ? status : NOT_SUPPORTED;
}

Return nvmlDeviceGetTotalEnergyConsumption(Device device, unsigned long long *out) {
    Return status = metered(device);
    if (status) return status;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long long step_ns = (long long)(number("STUB_NVML_STEP_MS", 20) * 1e6);
    long long renewed_ns = (now.tv_sec * 1000000000LL + now.tv_nsec) / step_ns * step_ns;
    *out = (unsigned long long)(renewed_ns / 1e9 * milliwatts());
    return SUCCESS;
}

Return nvmlDeviceGetPowerUsage(Device device, unsigned *out) { return whole(metered(device), milliwatts(), out); }
Return nvmlDeviceGetEnforcedPowerLimit(Device device, unsigned *out) { return whole(asked(device), 700000, out); }
Return nvmlDeviceGetPowerManagementLimit(Device device, unsigned *out) { return whole(asked(device), 700000, out); }
Return nvmlDeviceGetPowerManagementDefaultLimit(Device device, unsigned *out) {
    return whole(asked(device), 700000, out);
}

Return nvmlDeviceGetPowerManagementLimitConstraints(Device device, unsigned *least, unsigned *most) {
    Return status = whole(asked(device), 200000, least);
    return status ? status : whole(status, 700000, most);
}

Return nvmlDeviceGetFieldValues(Device device, int count, FieldValue *values) {
    Return status = asked(device);
    for (int i = 0; !status && i < count; i++) {
        int known = (values[i].field == POWER_AVERAGE || values[i].field == POWER_INSTANT) && values[i].scope == 0;
        values[i].status = known ? metered(device) : NOT_SUPPORTED;
        values[i].type = TYPE_UNSIGNED_INT;
        values[i].value.longest = 0xA5A5A5A5A5A5A5A5; /* undefined where refused, and beyond the value's own type */
        if (values[i].status == SUCCESS) values[i].value.whole = milliwatts();
    }
    return status;
}

Return nvmlDeviceGetMemoryInfo(Device device, Memory *out) {
    Return status = asked(device);
    if (!status) *out = (Memory){.total = 80000 * MIB, .free = 79000 * MIB, .used = 1000 * MIB};
    return status;
}

Return nvmlDeviceGetUtilizationRates(Device device, Utilization *out) {
    Return status = asked(device);
    if (!status) *out = (Utilization){.gpu = 50, .memory = 10};
    return status;
}

Return nvmlDeviceGetTemperature(Device device, int sensor, unsigned *out) {
    return whole(sensor == 0 ? asked(device) : INVALID_ARGUMENT, 45, out);
}

Return nvmlDeviceGetComputeMode(Device device, unsigned *out) { return whole(asked(device), 0, out); }

Return nvmlDeviceGetCurrentClocksEventReasons(Device device, unsigned long long *out) {
    Return status = asked(device);
    if (!status) *out = 0;
    return status;
}

/* Nobody's processes run on it. */
Return nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned *count, void *processes) {
    (void)processes;
    return whole(asked(device), 0, count);
}

Return nvmlDeviceGetGraphicsRunningProcesses_v3(Device device, unsigned *count, void *processes) {
    (void)processes;
    return whole(asked(device), 0, count);
}
